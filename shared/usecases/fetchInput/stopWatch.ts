import type { Settings } from '../../contract/settings.ts';
import type { Invocation, Ports } from '../../ports.ts';
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

/** True once the invocation has no more time than it needs to hand over. */
export function isOutOfTime({ fetch }: Settings, invocation: Invocation): boolean {
  return invocation.remainingMs() < fetch.reserveSeconds * 1000;
}

/**
 * Looks at the clock and the control record every few seconds until `end`. Once there is no more time or the batch is to
 * stop, the signal is aborted with `Interrupted`, so that a source which is silent, redirects at its leisure, or for
 * which a reconnection waits, is left as well as one that drips.
 */
export function watchStop(
  deps: Pick<Ports, 'controls' | 'clock' | 'log'> & { settings: Settings },
  batchId: string,
  invocation: Invocation,
): { signal: AbortSignal; end(): void } {
  const everyMs = deps.settings.worker.controlEverySeconds * 1000;
  const stop = new AbortController();
  const over = new AbortController();
  async function watch(): Promise<void> {
    for (;;) {
      await deps.clock.sleep(everyMs, over.signal);
      if (isOutOfTime(deps.settings, invocation)) return stop.abort(new Interrupted('time'));
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
