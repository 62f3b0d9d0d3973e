import { idleAttemptsNow, pauseAfterIdleAttempts } from '../../domain/attempts.ts';
import type { BatchHead } from '../../domain/batch.ts';
import type { ExecutionStatus } from '../../ports.ts';
import { committedLines } from '../committedLines.ts';
import type { CheckDeps, Look } from './look.ts';

/**
 * An open batch whose execution does not run. One that never started is started under its own number; after one that
 * ended, the next attempt goes on from the records. A batch whose attempts commit nothing, again and again, is failed:
 * its next attempt only gathers what there is.
 */
export async function recoverBatch(
  deps: CheckDeps,
  head: BatchHead,
  execution: Exclude<ExecutionStatus, 'running'>,
): Promise<Look> {
  const { batches, clock, settings, workflow } = deps;
  const { lookAgainSeconds, maxIdleAttempts } = settings.check;
  const look = (did: 'recovered' | 'failed', reason: string): Look => ({
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

  const committed = await committedLines(deps, head.batchId);
  const idleAttempts = idleAttemptsNow(head, committed);
  const givenUp = idleAttempts >= maxIdleAttempts && !head.outcome && head.status !== 'cancelling';
  if (givenUp) {
    const message = `The batch could not be processed: ${idleAttempts} attempts in a row came to nothing.`;
    await batches.fixOutcome(head, { kind: 'failed', reason: 'step_died', message, fixedAt: clock.now() });
  }
  const progress = { idleAttempts, committedAtAttempt: committed };
  if ((await batches.takeAttempt(head, head.attempt, progress)) === 'superseded') return { did: 'unchanged' };
  const pauseSeconds = pauseAfterIdleAttempts(idleAttempts, lookAgainSeconds);
  await batches.setDue(head, clock.now() + pauseSeconds * 1000);
  // Should this fail, the next look finds the attempt not started.
  await workflow.startBatch(head, head.attempt + 1);
  return givenUp ? look('failed', 'step_died') : look('recovered', `execution_${execution}`);
}
