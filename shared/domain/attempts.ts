import type { BatchHead } from './batch.ts';

/** Attempts in a row that got nowhere, the newest included, given the progress that is made now (`progressMade`). */
export function idleAttemptsNow(
  head: Pick<BatchHead, 'idleAttempts' | 'committedAtAttempt'>,
  progress: number,
): number {
  return progress > head.committedAtAttempt ? 0 : head.idleAttempts + 1;
}

const MAX_PAUSE_SECONDS = 3600;

/** Seconds until the next attempt after so many idle ones: doubled each time, at most an hour. */
export function pauseAfterIdleAttempts(idleAttempts: number, lookAgainSeconds: number): number {
  // 2^10 of the shortest pause (one second) is more than a quarter of an hour; beyond it only the bound counts.
  return Math.min(MAX_PAUSE_SECONDS, lookAgainSeconds * 2 ** Math.min(Math.max(idleAttempts - 1, 0), 12));
}
