import { findModel, type ModelsFile } from '../models.ts';
import type { ModelLimits } from './callShare.ts';

/** A call that takes longer is rare: with so many calls a second times this in flight a limit is reached. */
const SLOW_CALL_SECONDS = 60;
/** What a slow model reads and writes a second for one call. */
const SLOW_TOKENS_PER_SECOND = 20;
/** Of a limit on calls in flight each worker has a whole number: with this many the rest that is left over is small. */
const CALLS_IN_FLIGHT_A_WORKER = 8;

/**
 * How many workers of a batch may run at once: as many as the limits of its models can feed, where each has some. More
 * would only wait, be paid for, and ask the table. Whose part of a limit is how large changes by the minute, so it has no
 * say here: who has a small part waits for it.
 */
export function workersOfBatch(
  plan: { shards: number; models?: readonly string[] | undefined } | undefined,
  file: ModelsFile,
  { maxWorkers, inFlightMax }: { maxWorkers: number; inFlightMax: number },
): number {
  const most = Math.max(1, Math.min(plan?.shards ?? maxWorkers, maxWorkers));
  if (!plan?.models || plan.models.length === 0) return most;
  const fed = plan.models.map((name) => workersFed(findModel(file, name)?.limits ?? {}, inFlightMax));
  return Math.min(
    most,
    fed.reduce((sum, workers) => sum + workers, 0),
  );
}

function workersFed(limits: ModelLimits, inFlightMax: number): number {
  const { requests_per_minute: requests, tokens_per_minute: tokens, calls_in_flight: calls } = limits;
  const none = Number.POSITIVE_INFINITY;
  return Math.min(
    requests === undefined ? none : Math.ceil(((requests / 60) * SLOW_CALL_SECONDS) / inFlightMax),
    tokens === undefined ? none : Math.ceil(tokens / 60 / (inFlightMax * SLOW_TOKENS_PER_SECOND)),
    calls === undefined ? none : Math.ceil(calls / CALLS_IN_FLIGHT_A_WORKER),
  );
}
