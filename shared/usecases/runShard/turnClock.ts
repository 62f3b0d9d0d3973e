/**
 * How one invocation spends its time: it admits calls, then drains, then hands over.
 *
 *   start ──── admits ────┤ drain: what is in flight ends ├ reserve: the last commit ┤ the function's timeout
 *
 * Each call's own timeout fits between admission's end and the reserve, so that no call is cut off by the hand-over:
 * it ends, or times out as it would have anyway, and a line that is too slow cannot go round for ever.
 */
export type TurnPlan = { drainMs: number; reserveMs: number; callTimeoutMs: number };

/** The last commit: 8 MB to S3, one DynamoDB write, and the way out. */
const RESERVE_MS = 15_000;
/** A function with a short timeout (tests, a small stage) drains in its second half. */
const MAX_DRAIN_SHARE = 0.5;
const MAX_RESERVE_SHARE = 0.15;

export function planTurn(
  remainingMs: number,
  settings: { drainSeconds: number; callTimeoutSeconds: number },
): TurnPlan {
  const whole = Math.max(remainingMs, 1);
  const drainMs = Math.min(settings.drainSeconds * 1000, whole * MAX_DRAIN_SHARE);
  const reserveMs = Math.min(RESERVE_MS, whole * MAX_RESERVE_SHARE, drainMs / 2);
  const callTimeoutMs = Math.max(1, Math.floor(Math.min(settings.callTimeoutSeconds * 1000, drainMs - reserveMs)));
  return { drainMs, reserveMs, callTimeoutMs };
}
