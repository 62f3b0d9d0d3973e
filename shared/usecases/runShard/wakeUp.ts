import type { Clock } from '../../ports.ts';

/** Lets one loop sleep until something happens or a time comes. What happens meanwhile is not lost. */
export type WakeUp = { now(): void; waitUntil(at: number): Promise<void>; close(): void };

export function createWakeUp(clock: Clock): WakeUp {
  const closed = new AbortController();
  let happened = Promise.withResolvers<void>();
  /** The earliest time that a sleep is already set for: a later one needs none of its own. */
  let setFor = Number.POSITIVE_INFINITY;

  return {
    now: () => happened.resolve(),
    async waitUntil(at) {
      if (at < setFor) {
        setFor = at;
        clock.sleep(Math.max(0, at - clock.now()), closed.signal).then(
          () => {
            if (setFor === at) setFor = Number.POSITIVE_INFINITY;
            happened.resolve();
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
