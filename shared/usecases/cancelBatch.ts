import type { BatchHead } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import type { BatchRecords } from './createBatch.ts';
import { gatherCancelled } from './gatherCancelled.ts';
import { findBatch } from './getBatch.ts';

type Deps = Pick<Ports, 'batches' | 'shards' | 'controls' | 'workflow' | 'clock' | 'log'>;

/**
 * Cancels a batch: `cancelling`, until what was committed is gathered. A repeat finds it so, and finishes a cancel that
 * died half way. Throws `conflict` for a batch that has ended otherwise.
 */
export async function cancelBatch(deps: Deps, caller: ProjectCaller, batchId: string): Promise<BatchRecords> {
  const { batches, controls, clock, log } = deps;
  const found = await findBatch(deps, caller, batchId);
  const moved = isEnded(found.status) ? { head: found } : await batches.move(found, 'cancelling', { now: clock.now() });
  const head: BatchHead = 'head' in moved ? moved.head : found;
  if (isEnded(head.status) && head.status !== 'cancelled')
    throw new ApiError('conflict', `The batch is ${head.status}: it cannot be cancelled any more.`);
  if (head.status === 'cancelling') {
    await controls.stop(batchId, 'cancelled');
    try {
      await gatherCancelled(deps, head);
    } catch (error) {
      // The cancel is on the record: what could not be done now, the check does.
      log.warn('A cancelled batch was not moved on; the check will', { batchId, error });
    }
  }
  return { head, detail: await batches.getDetail(batchId) };
}
