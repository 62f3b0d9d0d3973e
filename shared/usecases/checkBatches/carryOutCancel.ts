import type { BatchHead } from '../../domain/batch.ts';
import { isRecent } from '../../domain/isRecent.ts';
import { CANCEL_GRACE_MS, gatherCancelled } from '../gatherCancelled.ts';
import type { CheckDeps, Look } from './look.ts';

/** No attempt has followed the cancel yet. */
export function isCancelPending(head: BatchHead): boolean {
  return head.status === 'cancelling' && head.attempt === head.attemptAtCancel;
}

/**
 * A cancel that died half way, in whichever of its steps: done again from the first. One that is young is left to whoever
 * makes it, and an attempt that gathers already to itself.
 */
export async function carryOutCancel(deps: CheckDeps, head: BatchHead): Promise<Look> {
  const { batches, clock } = deps;
  const cancelledAt = head.enteredAt.cancelling ?? 0;
  if (isRecent(cancelledAt, clock.now(), CANCEL_GRACE_MS)) {
    await batches.setDue(head, cancelledAt + CANCEL_GRACE_MS);
    return { did: 'unchanged' };
  }
  if ((await gatherCancelled(deps, head)) === 'under_way') return { did: 'unchanged' };
  const { batchId: id, status } = head;
  return { did: 'recovered', id, from: status, to: status, reason: 'cancel_not_carried_out' };
}
