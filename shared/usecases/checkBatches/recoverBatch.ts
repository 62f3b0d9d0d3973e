import type { CheckReason } from '../../contract/checkView.ts';
import { idleAttemptsNow, pauseAfterIdleAttempts } from '../../domain/attempts.ts';
import type { BatchHead, Outcome } from '../../domain/batch.ts';
import type { ExecutionStatus } from '../../ports.ts';
import { progressMade } from '../progressMade.ts';
import type { CheckDeps, Look } from './look.ts';

/** Alarms count it: each one is a batch whose results lie there, and whose client waits. */
export const CANNOT_BE_ENDED = 'A batch cannot be ended';

/**
 * An open batch whose execution does not run. One that never started is started under its own number; after one that
 * ended, the next attempt goes on from the records. A batch whose attempts commit nothing, again and again, is failed:
 * its next attempt only gathers what there is. Where it is to end already, giving up would lose what was gathered: it is
 * tried again each hour, and somebody has to look.
 */
export async function recoverBatch(
  deps: CheckDeps,
  head: BatchHead,
  execution: Exclude<ExecutionStatus, 'running'>,
): Promise<Look> {
  const { batches, clock, controls, log, settings, workflow } = deps;
  const { lookAgainSeconds, maxIdleAttempts } = settings.check;
  const look = (did: 'recovered' | 'failed', reason: CheckReason): Look => ({
    did,
    id: head.batchId,
    from: head.status,
    to: did === 'failed' ? 'failed' : head.status,
    reason,
  });

  if (execution === 'not_found') {
    const started = await workflow.startBatch(head, head.attempt);
    return started === 'started' ? look('recovered', 'execution_not_started') : { did: 'unchanged' };
  }

  const committed = await progressMade(deps, head);
  const counted = idleAttemptsNow(head, committed);
  // One that was stopped from outside (the local run ended, somebody called StopExecution), or that a deploy has made
  // unreadable, says nothing about the batch.
  const blameless = execution === 'aborted' || execution === 'outdated';
  const idleAttempts = blameless ? Math.min(head.idleAttempts, counted) : counted;
  const cameToNothing = idleAttempts >= maxIdleAttempts;
  const isEnding = head.outcome !== undefined || head.status === 'cancelling';
  const givenUp = cameToNothing && !isEnding;
  const message = `The batch could not be processed: ${idleAttempts} attempts in a row came to nothing.`;
  const failed: Outcome = { kind: 'failed', reason: 'step_died', message, fixedAt: clock.now() };
  // In one write: a look that is late must not fail a batch which a newer attempt has moved on.
  const progress = { idleAttempts, committedAtAttempt: committed, ...(givenUp ? { outcome: failed } : {}) };
  if ((await batches.takeAttempt(head, head.attempt, progress)) === 'superseded') return { did: 'unchanged' };
  if (cameToNothing && isEnding) {
    const { projectId, batchId, status, attempt } = head;
    log.error(CANNOT_BE_ENDED, { projectId, batchId, status, attempt, idleAttempts });
  }
  const pauseSeconds = pauseAfterIdleAttempts(idleAttempts, lookAgainSeconds);
  await batches.setDue(head, clock.now() + pauseSeconds * 1000);
  // Workers that the last attempt has left in flight commit what they have before the next one gathers.
  if (givenUp) await controls.stop(head.batchId, 'failed');
  // Should this fail, the next look finds the attempt not started.
  await workflow.startBatch(head, head.attempt + 1);
  if (givenUp) return look('failed', 'step_died');
  return look('recovered', cameToNothing && isEnding ? 'ending_failed' : `execution_${execution}`);
}
