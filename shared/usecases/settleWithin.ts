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
