import type { Run } from '../contract/steps.ts';
import type { BatchHead, BatchRef } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import type { Ports } from '../ports.ts';

/** `go`: the step has work. Else what comes next is already decided. */
export type Entered = { go: true; ref: BatchRef; head: BatchHead } | { go: false; next: 'plan' | 'finalize' | 'end' };

/** What Fetch and Validate look at before they begin: is this attempt the newest, and is the batch still validating? */
export async function enterInputStep(deps: Pick<Ports, 'batches' | 'controls' | 'clock'>, run: Run): Promise<Entered> {
  const ref = { projectId: run.projectId, batchId: run.batchId };
  const head = await deps.batches.get(ref);
  if (head === undefined || head.attempt !== run.attempt || isEnded(head.status)) return { go: false, next: 'end' };
  if (head.outcome !== undefined || head.status === 'finalizing' || head.status === 'cancelling')
    return { go: false, next: 'finalize' };
  if (head.status !== 'validating') return { go: false, next: 'plan' };
  if (await mustStop(deps, run.batchId)) return { go: false, next: 'finalize' };
  return { go: true, ref, head };
}

/** A cancel, a fatal fault or the deadline: Finalize decides which, and what the batch becomes. */
export async function mustStop(deps: Pick<Ports, 'controls' | 'clock'>, batchId: string): Promise<boolean> {
  const control = await deps.controls.get(batchId);
  return control !== undefined && (control.action === 'stop' || deps.clock.now() >= control.deadline);
}

/** Looks at the control record at most every `everyMs`, so that it can be asked at every chunk. */
export function watchControl(
  deps: Pick<Ports, 'controls' | 'clock'>,
  batchId: string,
  everyMs: number,
): () => Promise<boolean> {
  let lookedAt = deps.clock.now();
  return async () => {
    const now = deps.clock.now();
    if (now - lookedAt < everyMs) return false;
    lookedAt = now;
    return mustStop(deps, batchId);
  };
}
