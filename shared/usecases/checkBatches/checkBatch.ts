import type { CheckReason } from '../../contract/checkView.ts';
import { pauseAfterIdleAttempts } from '../../domain/attempts.ts';
import type { BatchHead, BatchRef } from '../../domain/batch.ts';
import { isEnded } from '../../domain/batchStatus.ts';
import { isRecent } from '../../domain/isRecent.ts';
import { announceEnd } from '../announceEnd.ts';
import { carryOutCancel, isCancelPending } from './carryOutCancel.ts';
import { expireBatch } from './expireBatch.ts';
import type { CheckDeps, Look } from './look.ts';
import { recoverBatch } from './recoverBatch.ts';

const UNCHANGED: Look = { did: 'unchanged' };

/** The index said that the batch is due; what it is in truth is read here. */
export async function checkBatch(deps: CheckDeps, ref: BatchRef): Promise<Look> {
  const { batches, clock, controls, settings, workflow } = deps;
  const { lookAgainSeconds, graceSeconds } = settings.check;
  const head = await batches.get(ref);
  if (!head) {
    await batches.setDue(ref, undefined);
    return UNCHANGED;
  }
  if (isEnded(head.status)) return checkNotification(deps, head);

  const now = clock.now();
  // First: whatever happens to this look, the next one is not at once.
  await batches.setDue(head, now + lookAgainSeconds * 1000);
  if (isCancelPending(head)) return carryOutCancel(deps, head);
  // Once gathering has begun the deadline is ignored.
  const mayExpire = (head.status === 'validating' || head.status === 'in_progress') && !head.outcome;
  if (mayExpire && now > head.expiresAt + graceSeconds * 1000) {
    const control = await controls.get(head.batchId);
    // Stopped by an earlier look: its next attempt is on its way to gather, and is not stopped again.
    if (control?.action !== 'stop') return expireBatch(deps, head);
  }
  // What was written to a moment ago is alive; Step Functions is asked about the others (10 to 15 calls a second).
  if (isRecent(head.updatedAt, now, lookAgainSeconds * 1000)) return UNCHANGED;
  const execution = await workflow.describeBatch(head.batchId, head.attempt);
  return execution === 'running' ? UNCHANGED : recoverBatch(deps, head, execution);
}

/** An ended batch is due until its client was told, or telling was given up. */
async function checkNotification(deps: CheckDeps, head: BatchHead): Promise<Look> {
  const { batches, clock, settings, workflow } = deps;
  if (head.deliveredAt !== undefined || head.delivery?.gaveUpAt !== undefined) {
    await batches.setDue(head, undefined);
    return UNCHANGED;
  }
  const { batchId, notification, status } = head;
  const moved = (reason: CheckReason): Look => ({ did: 'notified', id: batchId, from: status, to: status, reason });
  // One that is lost again and again is looked at ever less often.
  const pauseSeconds = pauseAfterIdleAttempts(notification, settings.check.lookAgainSeconds);
  await batches.setDue(head, Math.max(clock.now(), head.delivery?.nextAttemptAt ?? 0) + pauseSeconds * 1000);
  if (notification === 0)
    return (await announceEnd(deps, head)) === 'started' ? moved('notification_not_started') : UNCHANGED;
  const execution = await workflow.describeNotification(batchId, notification);
  if (execution === 'running') return UNCHANGED;
  // Taken, and perhaps about to be started: under its own number, which starts it once whoever else does.
  if (execution === 'not_found')
    return (await workflow.startNotification(head, notification)) === 'started'
      ? moved('notification_not_started')
      : UNCHANGED;
  return (await announceEnd(deps, head)) === 'started' ? moved('notification_lost') : UNCHANGED;
}
