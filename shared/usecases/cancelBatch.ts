import type { BatchHead } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import { CANCEL_GRACE_MS, gatherCancelled } from './gatherCancelled.ts';
import { findBatch } from './getBatch.ts';
import type { BatchRecords } from './makeBatch.ts';
import { settleWithin, WORKFLOW_PATIENCE_MS } from './settleWithin.ts';

type Deps = Pick<Ports, 'batches' | 'controls' | 'workflow' | 'clock' | 'log'>;

/**
 * Cancels a batch: `cancelling`, until what was committed is gathered. A repeat finds it so, and finishes a cancel that
 * died half way. Throws `conflict` for a batch that has ended otherwise.
 */
export async function cancelBatch(deps: Deps, caller: ProjectCaller, batchId: string): Promise<BatchRecords> {
  const found = await findBatch(deps, caller, batchId);
  const head = isEnded(found.status) ? found : await moveToCancelling(deps, found);
  if (isEnded(head.status) && head.status !== 'cancelled')
    throw new ApiError('conflict', `The batch is ${head.status}: it cannot be cancelled any more.`);
  return { head, detail: await deps.batches.getDetail(batchId) };
}

async function moveToCancelling(deps: Deps, found: BatchHead): Promise<BatchHead> {
  const { batches, clock, log } = deps;
  const now = clock.now();
  const moved = await batches.move(found, 'cancelling', { now });
  const head = moved.result === 'not_found' ? found : moved.head;
  if (head.status !== 'cancelling') return head;
  try {
    // Its check may be due much later. A repeat does not put it off.
    if (moved.result === 'moved') await batches.setDue(head, now + CANCEL_GRACE_MS);
    const gathering = gatherCancelled(deps, head).then(() => undefined);
    if ((await settleWithin(gathering, WORKFLOW_PATIENCE_MS)) === 'timed_out')
      log.warn('A cancelled batch is moved on slowly; the check looks after it', { batchId: head.batchId });
  } catch (error) {
    // The cancel is on the record and is answered so: what could not be done now, the check does.
    log.warn('A cancelled batch was not moved on; the check will', { batchId: head.batchId, error });
  }
  return head;
}
