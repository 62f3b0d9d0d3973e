import { ApiError } from './errors.ts';

/** A stretch of time that a quota counts in: minutes and days begin for all at once, by UTC. */
export type QuotaWindow = { start: number; end: number };

export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;

export function windowOf(now: number, lengthMs: number): QuotaWindow {
  const start = Math.floor(now / lengthMs) * lengthMs;
  return { start, end: start + lengthMs };
}

/** Whole seconds until the window is over, one at least: a client that waits for so long finds the next one. */
export function secondsUntil(end: number, now: number): number {
  return Math.max(1, Math.ceil((end - now) / 1000));
}

/** `message` names the quota, its limit, and what to do. */
export function quotaExceeded(message: string, retryAfterSeconds: number): ApiError {
  return new ApiError('rate_limit_exceeded', message, { headers: { 'Retry-After': String(retryAfterSeconds) } });
}
