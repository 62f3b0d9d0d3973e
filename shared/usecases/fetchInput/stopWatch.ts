import type { Ports } from '../../ports.ts';
import { mustStop } from '../enterInputStep.ts';

/** Out of time, or told to stop. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly why: 'time' | 'stop';
  constructor(why: 'time' | 'stop') {
    super(why);
    this.why = why;
  }
}

/**
 * Looks at the control record every `everyMs` until `end`. Once the batch is to stop the signal is aborted with
 * `Interrupted`, so that a source which is silent, or for which a reconnection waits, is left as well as one that drips.
 */
export function watchStop(
  deps: Pick<Ports, 'controls' | 'clock' | 'log'>,
  batchId: string,
  everyMs: number,
): { signal: AbortSignal; end(): void } {
  const stop = new AbortController();
  const over = new AbortController();
  async function watch(): Promise<void> {
    for (;;) {
      await deps.clock.sleep(everyMs, over.signal);
      // The next look is near: a table that does not answer this one fails no fetch.
      const isStopped = await mustStop(deps, batchId).catch((error: unknown) => {
        deps.log.warn('control not read', { batchId, error });
        return false;
      });
      if (over.signal.aborted) return;
      if (isStopped) return stop.abort(new Interrupted('stop'));
    }
  }
  // Its sleep ends with the fetch.
  watch().catch(() => undefined);
  return { signal: stop.signal, end: () => over.abort() };
}
