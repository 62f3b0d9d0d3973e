import type { Ports } from '../ports.ts';

/**
 * Reads all batches and puts those back on the due index that it should name and does not: the check goes by the index
 * alone, and would never look at them. Answers how many there were.
 */
export async function sweepBatches({ batches, clock, log }: Pick<Ports, 'batches' | 'clock' | 'log'>): Promise<number> {
  let found = 0;
  const now = clock.now();
  for await (const ref of batches.listMissingDue(now)) {
    await batches.setDue(ref, now);
    log.warn('A batch was missing from the due index', { batchId: ref.batchId });
    found++;
  }
  return found;
}
