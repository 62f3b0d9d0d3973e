import type { Outcome } from './batch.ts';
import type { BatchStatus } from './batchStatus.ts';
import type { Control } from './control.ts';
import type { LineErrorCode } from './errors.ts';

export type GatheringFacts = {
  status: BatchStatus;
  /** The outcome on the record, if there is one. */
  standing: Outcome | undefined;
  control: Control | undefined;
  /** Every line of the plan has a result (and there is a plan). Counts once the batch has left `validating`. */
  allDone: boolean;
  deadline: number;
  now: number;
};

/**
 * Why a batch's results are gathered, hence how it ends. Undefined: there is no reason, it is to go on.
 *
 * What stands stays, and only a cancel changes it. A batch whose lines are all done is completed even when late.
 */
export function decideOutcome(facts: GatheringFacts): Outcome | undefined {
  const { status, standing, control, allDone, deadline, now } = facts;
  const stop = control?.action === 'stop' ? control.reason : undefined;
  if (standing?.kind === 'cancelled') return standing;
  if (status === 'cancelling' || (stop === 'cancelled' && !standing)) {
    return cancelledAt(now);
  }
  if (standing) return standing;
  if (stop === 'failed') return { kind: 'failed', reason: 'stopped', fixedAt: now };
  // A failed validation lays down a plan without shards, of its bad lines alone: that is no batch that was run.
  if (allDone && status !== 'validating') return { kind: 'completed', reason: 'all_done', fixedAt: now };
  if (stop === 'expired' || now >= deadline) return { kind: 'expired', reason: 'window_over', fixedAt: now };
  return undefined;
}

export function cancelledAt(now: number): Outcome {
  return { kind: 'cancelled', reason: 'cancelled', fixedAt: now };
}

/** What the errors file says of lines that were not run, or not to their end. A completed batch has none. */
export function reasonNotRun(kind: Outcome['kind']): { code: LineErrorCode; message: string } | undefined {
  return NOT_RUN[kind];
}

const NOT_RUN: Record<Outcome['kind'], { code: LineErrorCode; message: string } | undefined> = {
  completed: undefined,
  expired: { code: 'batch_expired', message: "The batch's completion window ended before this line had a result." },
  cancelled: { code: 'batch_cancelled', message: 'The batch was cancelled before this line had a result.' },
  failed: { code: 'batch_failed', message: 'The batch failed before this line had a result.' },
};
