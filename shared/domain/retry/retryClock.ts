import { FAILURE_CAUSES, type FailureCause } from './failureCauses.ts';

/** A server's `Retry-After` is believed up to here: a mistaken one (hours, years) must not park a batch. */
export const MAX_RETRY_AFTER_MS = 15 * 60_000;

export type RetrySettings = { maxAttempts: number; retryBaseMs: number; retryMaxMs: number };

export type FailedTry = {
  cause: FailureCause;
  /** Attempts that the line has used up, this one included where it counts. */
  attempts: number;
  /** Failures of the line in a row, of any kind, this one included: what the backoff grows with. */
  tries: number;
  retryAfterMs?: number;
};

/** When the line is tried again (milliseconds since the epoch), or that it is not. */
export type RetryDecision = { retry: true; at: number } | { retry: false; why: 'final' | 'attempts' | 'deadline' };

/**
 * Exponential backoff with full jitter (AWS Builders' Library, "Timeouts, retries and backoff with jitter"):
 * uniform in [0, min(max, base · 2^(tries-1))), so that lines that failed together do not come back together. A
 * `Retry-After` is waited for first, the jitter is added to it. A try that would start at the deadline or later is none.
 */
export function decideRetry(
  failed: FailedTry,
  settings: RetrySettings,
  { now, deadline, random }: { now: number; deadline: number; random: { next(): number } },
): RetryDecision {
  if (!FAILURE_CAUSES[failed.cause].retryable) return { retry: false, why: 'final' };
  if (isUsedUp(failed, settings)) return { retry: false, why: 'attempts' };
  const pauseMs = boundRetryAfter(failed.retryAfterMs) + jitteredBackoffMs(failed.tries, settings, random);
  const at = now + Math.ceil(pauseMs);
  return at < deadline ? { retry: true, at } : { retry: false, why: 'deadline' };
}

/** The line has no attempt left after a failure of that kind. */
export function isUsedUp(
  { cause, attempts }: Pick<FailedTry, 'cause' | 'attempts'>,
  settings: Pick<RetrySettings, 'maxAttempts'>,
): boolean {
  const policy = FAILURE_CAUSES[cause];
  return (
    policy.countsAsAttempt && attempts >= Math.min(settings.maxAttempts, policy.maxAttempts ?? settings.maxAttempts)
  );
}

export function jitteredBackoffMs(
  tries: number,
  settings: Pick<RetrySettings, 'retryBaseMs' | 'retryMaxMs'>,
  random: { next(): number },
): number {
  // 2^30 · 1 ms is 12 days: beyond it only `retryMaxMs` counts, and the power must not reach Infinity.
  const ceiling = Math.min(settings.retryMaxMs, settings.retryBaseMs * 2 ** Math.min(Math.max(tries - 1, 0), 30));
  return random.next() * ceiling;
}

export function boundRetryAfter(retryAfterMs: number | undefined): number {
  return Math.min(Math.max(retryAfterMs ?? 0, 0), MAX_RETRY_AFTER_MS);
}
