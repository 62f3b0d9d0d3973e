/**
 * How long a route waits for Step Functions once what was asked for is on the record: the check does what is left. In an
 * outage the client would try for longer than the route has (six tries of 5 s; 29 s), and the answer would be a 5xx.
 */
export const WORKFLOW_PATIENCE_MS = 10_000;

/** Whether the work comes to its end within `ms`. A failure in time is thrown; one that comes later concerns nobody. */
export async function settleWithin(work: Promise<void>, ms: number): Promise<'settled' | 'timed_out'> {
  const timeout = Promise.withResolvers<'timed_out'>();
  const timer = setTimeout(() => timeout.resolve('timed_out'), ms);
  try {
    return await Promise.race([work.then(() => 'settled' as const), timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}
