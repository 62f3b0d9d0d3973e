import type { Clock } from '../../shared/ports.ts';

/**
 * Time that takes no time: it stands still while anything works (a read of the table, a part on its way to the bucket)
 * and jumps to the next sleeper when all wait. Hours pass in seconds, in an order that the seeds alone decide.
 */
export class VirtualTime {
  #now: number;
  #sleepers: Sleeper[] = [];
  #sequence = 0;
  /** Real work that was begun and has not ended, and the last of it in the queue. */
  #working = 0;
  #last: Promise<void> = Promise.resolve();
  #idle: (() => void) | undefined;
  /** Added to what `clock.now()` says: a clock that jumps. */
  skewMs = 0;

  constructor(start: number) {
    this.#now = start;
  }

  /** Virtual milliseconds since the epoch, without skew. */
  get now(): number {
    return this.#now;
  }

  readonly clock: Clock = {
    now: () => this.#now + this.skewMs,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const sleeper: Sleeper = {
          at: this.#now + Math.max(0, Math.ceil(ms)),
          sequence: this.#sequence++,
          wake: resolve,
        };
        this.#sleepers.push(sleeper);
        signal?.addEventListener(
          'abort',
          () => {
            const at = this.#sleepers.indexOf(sleeper);
            if (at === -1) return;
            this.#sleepers.splice(at, 1);
            reject(signal.reason);
          },
          { once: true },
        );
      }),
  };

  /**
   * Time stands still until this has settled. One after the other, or the order in which real work ends would decide
   * what comes next: so no work may wait for other work.
   */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#working++;
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    try {
      return await work();
    } finally {
      resolve();
      this.#working--;
      if (this.#working === 0) this.#idle?.();
    }
  }

  /** Runs until `main` has settled. Throws where it waits for nothing that could come. */
  async run<T>(main: Promise<T>): Promise<T> {
    let settled = false;
    const watched = main.finally(() => {
      settled = true;
    });
    watched.catch(() => undefined);
    for (;;) {
      await this.#quiet();
      if (settled) return await watched;
      const next = this.#nextAt();
      if (next === undefined) throw new Error('Everything waits, and no time will wake it');
      this.#now = Math.max(this.#now, next);
      const due = this.#sleepers.filter((sleeper) => sleeper.at <= this.#now);
      this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.at > this.#now);
      for (const { wake } of due.sort((a, b) => a.at - b.at || a.sequence - b.sequence)) wake();
    }
  }

  #nextAt(): number | undefined {
    let next: number | undefined;
    for (const { at } of this.#sleepers) next = next === undefined ? at : Math.min(next, at);
    return next;
  }

  /** Until no real work is under way and all that it woke has had its turn. */
  async #quiet(): Promise<void> {
    for (let turns = 0; turns < QUIET_TURNS; turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (this.#working === 0) continue;
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
      this.#idle = undefined;
      turns = -1;
    }
  }
}

type Sleeper = { at: number; sequence: number; wake: () => void };

/**
 * Turns of the event loop without real work after which nothing more is on its way: promises settle within one, a worker
 * wakes one later, an instance of WebAssembly (the hash of the result files) is there within two.
 */
const QUIET_TURNS = 6;
