import type { Settings } from '../contract/settings.ts';
import type { BatchRef } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { isRecent } from '../domain/isRecent.ts';
import { newestSnapshot } from '../domain/snapshots.ts';
import type { Ports, SnapshotRecord } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import { type SignedFiles, signFiles, signResults } from './downloadBatch.ts';
import { findBatch } from './getBatch.ts';
import { settleWithin, WORKFLOW_PATIENCE_MS } from './settleWithin.ts';

type Deps = Pick<Ports, 'batches' | 'snapshots' | 'files' | 'workflow' | 'clock' | 'log'> & { settings: Settings };

/**
 * What a running batch has so far: its newest snapshot, and another one is begun where that is old. `not_yet` until
 * there is one. A batch that has ended: its own files.
 */
export async function downloadPartial(
  deps: Deps,
  caller: ProjectCaller,
  batchId: string,
): Promise<(SignedFiles & { asOf: number }) | 'not_yet'> {
  const head = await findBatch(deps, caller, batchId);
  if (isEnded(head.status)) {
    return { ...(await signResults(deps, head)), asOf: head.enteredAt[head.status] ?? head.updatedAt };
  }
  // Before there is a plan nothing is run, hence nothing committed.
  if (head.status === 'validating' || !head.plan) return 'not_yet';
  const record = await deps.snapshots.get(batchId);
  try {
    await settleWithin(refresh(deps, head, record), WORKFLOW_PATIENCE_MS);
  } catch (error) {
    // What is there is of more use than a failure; the next call tries again.
    deps.log.warn('No snapshot begun', { batchId, error });
  }
  const { downloadUrlSeconds } = deps.settings.files;
  const newest = newestSnapshot(record?.ready ?? [], deps.clock.now(), downloadUrlSeconds);
  if (!newest) return 'not_yet';
  return { ...(await signFiles(deps, `${batchId}-partial`, newest)), asOf: newest.asOf };
}

/**
 * Begins the next snapshot where the newest is old and none is being made: however often this is called, one in
 * `refreshSeconds` at most. One whose execution died, or was never started, is followed by the next.
 */
async function refresh(
  { snapshots, workflow, clock, settings }: Deps,
  { projectId, batchId }: BatchRef,
  record: SnapshotRecord | undefined,
): Promise<void> {
  const now = clock.now();
  const taken = record?.taken ?? 0;
  if (record) {
    if (isRecent(record.takenAt, now, settings.snapshots.refreshSeconds * 1000)) return;
    const isReady = record.ready.some(({ snapshot }) => snapshot === taken);
    if (!isReady && (await workflow.describeSnapshot(batchId, taken)) === 'running') return;
  }
  if ((await snapshots.take(batchId, taken, now)) === 'superseded') return;
  await workflow.startSnapshot({ projectId, batchId }, taken + 1);
}
