import type { BatchHead } from '../domain/batch.ts';
import type { Ports } from '../ports.ts';

/**
 * A number that goes up as long as a batch's workers work: lines with a committed result, and turns that ended in order
 * though the model let nothing through. From the shard records (the head's live counts may drift).
 */
export async function progressMade(deps: Pick<Ports, 'shards'>, { batchId, plan }: BatchHead): Promise<number> {
  let progress = 0;
  for await (const { completed, failed, idleTurns } of deps.shards.list(batchId, plan?.shards)) {
    progress += completed + failed + idleTurns;
  }
  return progress;
}
