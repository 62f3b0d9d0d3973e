import type { Clock } from '../../ports.ts';

/**
 * Lets one loop sleep until something happens or a time comes. What happens meanwhile is not lost. All that happens in
 * one turn of the event loop wakes it once, at the turn's end: a hundred calls end in one turn where a model is fast.
 */
export type WakeUp = { now(): void; waitUntil(at: number): Promise<void>; close(): void };

export function createWakeUp(clock: Clock): WakeUp {
  const closed = new AbortController();
  let happened = Promise.withResolvers<void>();
  let isWaking = false;
  /** The earliest time that a sleep is already set for: a later one needs none of its own. */
  let setFor = Number.POSITIVE_INFINITY;

  const now = () => {
    if (isWaking) return;
    isWaking = true;
    setImmediate(() => {
      isWaking = false;
      happened.resolve();
    });
  };

  return {
    now,
    async waitUntil(at) {
      if (at < setFor) {
        setFor = at;
        clock.sleep(Math.max(0, at - clock.now()), closed.signal).then(
          () => {
            if (setFor === at) setFor = Number.POSITIVE_INFINITY;
            now();
          },
          // Only `close` ends a sleep early, and then nobody waits any more.
          () => undefined,
        );
      }
      await happened.promise;
      happened = Promise.withResolvers<void>();
    },
    close: () => closed.abort(),
  };
}
