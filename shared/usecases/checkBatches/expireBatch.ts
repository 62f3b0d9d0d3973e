import type { BatchHead, Receipt } from '../../domain/batch.ts';
import { announceEnd } from '../announceEnd.ts';
import { progressMade } from '../progressMade.ts';
import type { CheckDeps, Look } from './look.ts';

const DAY_MS = 86_400_000;
const NOTHING_READ: Receipt = { lines: 0, completed: 0, failed: 0, input: null, output: null, errors: null };

/**
 * A batch past its deadline whose machine has not noticed by itself in the time of grace: stops it. While validating
 * there is nothing to gather, and it ends here; else the next attempt gathers.
 */
export async function expireBatch(deps: CheckDeps, head: BatchHead): Promise<Look> {
  const { batches, clock, controls, settings, workflow } = deps;
  const look: Look = { did: 'expired', id: head.batchId, from: head.status, to: 'expired', reason: 'window_over' };
  // Functions in flight run on, but know the deadline, and what they would write is conditional. First the execution: a
  // batch that is told to stop is not stopped again, so that one which cannot be stopped now must not have been told.
  await workflow.stopBatch(head.batchId, head.attempt, 'The completion window is over.');
  await controls.stop(head.batchId, 'expired');

  if (head.status === 'validating') {
    const now = clock.now();
    // Of a Finalize that works at this moment, either it has ended the batch by now, or it can no longer.
    const gathering = await batches.takeGathering(head, head.attempt);
    if (gathering === 'superseded') return { did: 'unchanged' };
    // Before the end, which has one from its first moment. Should the batch go on to be run, Finalize writes the exact one.
    await batches.setReceipt(head.batchId, gathering, { receipt: NOTHING_READ });
    const moved = await batches.move(head, 'expired', {
      now,
      attempt: head.attempt,
      gathering,
      change: {
        outcome: { kind: 'expired', reason: 'window_over', fixedAt: now },
        filesExpireAt: now + settings.files.keepDays * DAY_MS,
      },
    });
    if (moved.result === 'moved') {
      await announceEnd(deps, moved.head);
      return look;
    }
    // Refused: it has just gone on to be run. Its execution is stopped all the same, and the next one gathers.
    if (moved.result !== 'refused' || moved.head.status !== 'in_progress') return { did: 'unchanged' };
  }
  const committed = await progressMade(deps, head);
  const progress = { idleAttempts: 0, committedAtAttempt: committed };
  if ((await batches.takeAttempt(head, head.attempt, progress)) === 'superseded') return { did: 'unchanged' };
  await workflow.startBatch(head, head.attempt + 1);
  return look;
}
