import type { Invocation, MissingDue, Ports } from '../ports.ts';

type Deps = Pick<Ports, 'batches' | 'clock' | 'log'>;

/** Parts of a sweep. Each day's begins with another one, so that none is always the one that there was no time for. */
const PARTS = 16;
const DAY_MS = 86_400_000;
/** Time kept back to end in order. Some 1,000 entries, read between two looks at the time, take a second or two. */
const RESERVE_MS = 30_000;

/**
 * Reads all batches and puts those back on the due index that it should name and does not: the check goes by the index
 * alone, and would never look at them. Answers how many there were, and how many parts there was no time for: millions of
 * batches take longer than one invocation.
 */
export async function sweepBatches(
  deps: Deps,
  invocation: Invocation,
): Promise<{ restored: number; unreadable: number; partsLeft: number }> {
  const { batches, clock, log } = deps;
  const swept = { restored: 0, unreadable: 0, partsLeft: PARTS };
  const now = clock.now();
  const first = Math.floor(now / DAY_MS);
  for (; swept.partsLeft > 0; swept.partsLeft--) {
    const part = (first + PARTS - swept.partsLeft) % PARTS;
    for await (const found of batches.listMissingDue(now, { part, parts: PARTS })) {
      for (const missing of found) await putBack(deps, missing, now, swept);
      if (invocation.remainingMs() > RESERVE_MS) continue;
      log.error('The sweep ran out of time', swept);
      return swept;
    }
  }
  return swept;
}

async function putBack(
  { batches, log }: Deps,
  missing: MissingDue,
  now: number,
  swept: { restored: number; unreadable: number },
): Promise<void> {
  const { batchId } = missing.ref;
  if (missing.found === 'unreadable') {
    // The check could not look at it either: somebody has to.
    log.error('The record of a batch cannot be read', { batchId, error: missing.error });
    swept.unreadable++;
    return;
  }
  // Whoever set it since the head was read knows better when it is due.
  if ((await batches.restoreDue(missing.ref, now)) === 'there') return;
  log.warn('A batch was missing from the due index', { batchId });
  swept.restored++;
}
