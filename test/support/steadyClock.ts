import type { Clock } from '../../shared/ports.ts';

/** A clock that stands still until it is set. Sleeping moves it on and takes no time. */
export function steadyClock(start: number): Clock & { set(now: number): void; advance(ms: number): void } {
  let at = start;
  return {
    now: () => at,
    set: (now) => {
      at = now;
    },
    advance: (ms) => {
      at += ms;
    },
    async sleep(ms) {
      at += ms;
    },
  };
}
