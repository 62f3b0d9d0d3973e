import { createHash } from 'node:crypto';
import type { Interceptor } from '../simulation/simulation.ts';
import type { VirtualTime } from '../simulation/virtualTime.ts';

/** Every call of a port in order, with who made it and when, as one number: two runs that went alike have the same. */
export class EventDigest {
  readonly #hash = createHash('sha256');
  readonly #onEvent: ((event: string) => void) | undefined;
  #time: VirtualTime | undefined;

  constructor(onEvent: ((event: string) => void) | undefined) {
    this.#onEvent = onEvent;
  }

  attach(time: VirtualTime): void {
    this.#time = time;
  }

  add(event: string): void {
    const line = `${this.#time?.now} ${event}`;
    this.#hash.update(`${line}\n`);
    this.#onEvent?.(line);
  }

  watch(intercept: Interceptor): Interceptor {
    return (call, proceed) => {
      const { process, port, method, args } = call;
      const {
        batchId = '',
        attempt = '',
        shard,
      } = process.payload as { batchId?: string; attempt?: number; shard?: { shard: number } };
      const first =
        typeof args[0] === 'string' ? args[0] : ((args[0] as { batchId?: string } | undefined)?.batchId ?? '');
      if (port !== 'clock')
        this.add(`${process.functionName} ${batchId} ${attempt} ${shard?.shard ?? ''} ${port}.${method} ${first}`);
      return intercept(call, proceed);
    };
  }

  get value(): string {
    return this.#hash.copy().digest('hex').slice(0, 16);
  }
}
