import type { Settings } from '../contract/settings.ts';
import type { StepInput, StepOutput } from '../contract/steps.ts';
import { idleAttemptsNow, pauseAfterIdleAttempts } from '../domain/attempts.ts';
import type { BatchHead, BatchRef } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import type { Invocation, Ports } from '../ports.ts';
import { progressMade } from './progressMade.ts';

type Deps = Pick<Ports, 'batches' | 'shards' | 'controls' | 'clock' | 'log'> & { settings: Settings };

/**
 * Errors that another attempt would meet again, by name (Step Functions carries names as text). The sentences are for
 * the client.
 */
const FATAL: Record<string, string> = {
  InputRejected: 'The input file cannot be used.',
  FileChanged: 'The input file was changed after the batch was created.',
  FileMissing: 'A file that the batch needs is gone.',
};

/**
 * After a step failed for good in this execution. Before gathering has begun, a batch that cannot go on is failed, so
 * that what was paid for is gathered; else the execution fails, and the check starts the next attempt, which goes on
 * from the records. Once gathering has begun the end is decided: Finalize is tried until it succeeds, ever less often,
 * since giving up would lose results.
 */
export async function failBatch(
  deps: Deps,
  input: StepInput<'failBatch'>,
  _invocation?: Invocation,
): Promise<StepOutput<'failBatch'>> {
  const { batches, clock, controls, log, settings } = deps;
  const ref: BatchRef = { projectId: input.projectId, batchId: input.batchId };
  const run = { version: input.version, ...ref, attempt: input.attempt };

  const head = await batches.get(ref);
  if (!head || isEnded(head.status) || head.attempt !== input.attempt) return { ...run, next: 'end' };
  const idleAttempts = idleAttemptsNow(head, await progressMade(deps, head));
  // The cause may hold content of the client's: only its name is logged.
  log.error('A step of the batch failed', { ...run, error: { name: input.error.Error }, idleAttempts });

  const verdict = head.outcome ? undefined : verdictOn(head, input.error.Error, idleAttempts, settings);
  if (verdict) {
    const outcome = { kind: 'failed', ...verdict, fixedAt: clock.now() } as const;
    if ((await batches.fixOutcome(ref, outcome, { attempt: input.attempt })) === 'superseded')
      return { ...run, next: 'end' };
    // Workers that the failed map has left in flight commit what they have, while Finalize lets things settle.
    await controls.stop(ref.batchId, 'failed');
    return { ...run, next: 'finalize' };
  }
  const pauseSeconds = pauseAfterIdleAttempts(idleAttempts, settings.check.lookAgainSeconds);
  await batches.setDue(ref, clock.now() + pauseSeconds * 1000);
  return { ...run, next: 'give_up' };
}

function verdictOn(
  head: BatchHead,
  error: string,
  idleAttempts: number,
  settings: Settings,
): { reason: string; message: string } | undefined {
  // A cancelled batch is never failed because of it: it is tried again until it has ended.
  if (head.status === 'cancelling') return undefined;
  const fatal = Object.hasOwn(FATAL, error) ? FATAL[error] : undefined;
  if (fatal !== undefined) return { reason: 'processing_failed', message: fatal };
  if (idleAttempts < settings.check.maxIdleAttempts) return undefined;
  return { reason: 'step_died', message: 'The batch could not be processed: a step failed again and again.' };
}
