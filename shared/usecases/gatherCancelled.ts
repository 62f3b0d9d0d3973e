import type { BatchHead } from '../domain/batch.ts';
import type { Ports } from '../ports.ts';

/** Whoever cancels has carried it out by then, or has died: the route's function ends after 29 s. */
export const CANCEL_GRACE_MS = 30_000;

/**
 * Brings a batch that was cancelled to its end: tells its workers, stops the attempt that ran (it may wait for a model
 * for many minutes) and starts the next one, which only gathers. An attempt newer than the cancel is left to it, and so is
 * one that runs and has begun to gather: it ends the batch as cancelled by itself. Each step may be repeated, by twins
 * too, and may be the last one: whoever comes next goes on from there.
 */
export async function gatherCancelled(
  deps: Pick<Ports, 'batches' | 'controls' | 'workflow'>,
  head: BatchHead,
): Promise<'started' | 'under_way'> {
  const { batches, controls, workflow } = deps;
  // First the workers: every attempt after this one may count on their committing what they have.
  await controls.stop(head.batchId, 'cancelled');
  if (head.attempt !== head.attemptAtCancel) {
    // It was taken, but whoever took it may have died before the start; a name that was used starts nothing.
    await workflow.startBatch(head, head.attempt);
    return 'under_way';
  }
  if (head.outcome && (await workflow.describeBatch(head.batchId, head.attempt)) === 'running') return 'under_way';
  await workflow.stopBatch(head.batchId, head.attempt, 'The batch was cancelled.');
  // What is committed need not be counted: a cancelled batch is never given up.
  const progress = { idleAttempts: 0, committedAtAttempt: head.committedAtAttempt };
  if ((await batches.takeAttempt(head, head.attempt, progress)) === 'superseded') return 'under_way';
  await workflow.startBatch(head, head.attempt + 1);
  return 'started';
}
