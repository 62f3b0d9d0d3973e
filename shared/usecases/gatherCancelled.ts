import type { BatchHead } from '../domain/batch.ts';
import type { Ports } from '../ports.ts';
import { committedLines } from './committedLines.ts';

/**
 * Brings a batch that was cancelled to its end: stops the attempt that ran (its workers may wait for a model for many
 * minutes) and starts the next one, which only gathers. Nothing is done where an attempt newer than the cancel is there,
 * or where the one that runs is gathering already: it ends the batch as cancelled by itself. Repeats do nothing twice.
 */
export async function gatherCancelled(
  deps: Pick<Ports, 'batches' | 'shards' | 'workflow'>,
  head: BatchHead,
): Promise<'started' | 'under_way'> {
  const { batches, workflow } = deps;
  if (head.attempt !== head.attemptAtCancel) return 'under_way';
  if (head.outcome && (await workflow.describeBatch(head.batchId, head.attempt)) === 'running') return 'under_way';
  await workflow.stopBatch(head.batchId, head.attempt, 'The batch was cancelled.');
  const progress = { idleAttempts: 0, committedAtAttempt: await committedLines(deps, head.batchId) };
  if ((await batches.takeAttempt(head, head.attempt, progress)) === 'superseded') return 'under_way';
  // Should this fail, the check finds the attempt not started.
  await workflow.startBatch(head, head.attempt + 1);
  return 'started';
}
