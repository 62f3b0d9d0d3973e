import { setTimeout as wait } from 'node:timers/promises';
import type { Clock } from '../../ports.ts';

export const systemClock: Clock = {
  now: () => Date.now(),
  async sleep(ms, signal) {
    signal?.throwIfAborted();
    try {
      await wait(ms, undefined, signal ? { signal } : {});
    } catch (error) {
      // Node rejects with an AbortError of its own; callers want the reason they gave.
      signal?.throwIfAborted();
      throw error;
    }
  },
};
