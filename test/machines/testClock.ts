import type { Clock } from '../../local/stepfunctions/clock.ts';

/** Time that stands still: Wait states are over at once, and machines run out of time when they are told to. */
export type TestClock = Clock & {
  /** Seconds that Wait states have waited for. */
  waits(): number[];
  /** From now on a Wait state waits until its execution is stopped; resolves when one has begun to. */
  hold(): Promise<void>;
  /** The machines' own time is over. */
  runOut(): void;
  /** Begins anew. */
  forget(): void;
};

/** @param timeoutsSeconds what the machines give their executions; any other sleep is a Wait state's */
export function createTestClock(timeoutsSeconds: number[]): TestClock {
  let waited: number[] = [];
  let held: (() => void) | undefined;
  let ends: (() => void)[] = [];

  const untilStopped = (signal: AbortSignal | undefined) =>
    new Promise<never>((_, reject) => {
      const stop = () => reject(new Error('Stopped'));
      if (signal?.aborted) stop();
      signal?.addEventListener('abort', stop, { once: true });
    });

  return {
    now: () => Date.parse('2026-01-15T10:30:00.000Z'),
    async sleep(ms, signal) {
      if (timeoutsSeconds.includes(ms / 1000)) {
        const over = new Promise<void>((resolve) => ends.push(resolve));
        return Promise.race([over, untilStopped(signal)]);
      }
      waited.push(ms / 1000);
      if (!held) return;
      held();
      await untilStopped(signal);
    },
    waits: () => [...waited],
    hold: () =>
      new Promise((resolve) => {
        held = resolve;
      }),
    runOut() {
      for (const end of ends) end();
    },
    forget() {
      waited = [];
      held = undefined;
      ends = [];
    },
  };
}
