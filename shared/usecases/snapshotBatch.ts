import * as z from 'zod';
import type { Settings } from '../contract/settings.ts';
import type { StepInput, StepOutput } from '../contract/steps.ts';
import type { BatchRef, StoredFile } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { objectKeys } from '../domain/objectKeys.ts';
import { outlivedSnapshots } from '../domain/snapshots.ts';
import { FileMissing, type Invocation, type Ports, type SnapshotRecord } from '../ports.ts';
import { handOverClock, loadCheckpoint, MergeCheckpointSchema, saveCheckpoint } from './finalizeBatch/checkpoint.ts';
import { mergeResults } from './finalizeBatch/mergeResults.ts';
import { openFiles } from './finalizeBatch/openFiles.ts';
import type { ResultFile, WrittenFile } from './finalizeBatch/resultFile.ts';
import { areKeptGone } from './finalizeBatch/startGathering.ts';

type Deps = Pick<Ports, 'batches' | 'shards' | 'snapshots' | 'files' | 'clock' | 'log'> & { settings: Settings };
type Snapshot = SnapshotRecord['ready'][number];

const SnapshotCheckpointSchema = MergeCheckpointSchema.extend({ asOf: z.int() });

/** The batch has ended while it was copied: its parts are on their way out, and its own files are what is wanted. */
class EndedMeanwhile extends Error {
  override readonly name = 'EndedMeanwhile';
}

/**
 * Copies what a running batch has committed into files of their own, in line order, with gaps. Nothing is sealed:
 * workers go on committing, and what comes after `asOf` may be in the files or not. Where one invocation is too short
 * it leaves a checkpoint and goes on in the next.
 */
export async function snapshotBatch(
  deps: Deps,
  input: StepInput<'snapshotBatch'>,
  invocation: Invocation,
): Promise<StepOutput<'snapshotBatch'>> {
  const isTimeOver = handOverClock(invocation);
  const { version, projectId, batchId, snapshot } = input;
  const ref: BatchRef = { projectId, batchId };
  const run = { version, ...ref, snapshot };
  const end = { ...run, next: 'end' as const };

  const checkpointKey = objectKeys.snapshotCheckpoint(ref, snapshot);
  const saved =
    input.checkpoint === undefined
      ? undefined
      : await loadCheckpoint(deps.files, input.checkpoint, SnapshotCheckpointSchema);
  // Before the first record is read: whatever was committed by then is seen.
  const asOf = saved?.asOf ?? deps.clock.now();
  const keys = {
    output: objectKeys.snapshot(ref, snapshot, 'output'),
    errors: objectKeys.snapshot(ref, snapshot, 'errors'),
  };
  const { output, errors, progress } = await openFiles(deps, keys, true, saved);
  try {
    const head = await deps.batches.get(ref);
    if (!head || isEnded(head.status)) throw new EndedMeanwhile();
    const merged = await mergeResults({
      deps,
      head,
      outcome: undefined,
      output,
      errors,
      withoutKept: await areKeptGone(deps, head),
      progress,
      maxLineBytes: deps.settings.limits.lineBytes,
      isTimeOver,
      onMissing: (key) => missingPart(deps, ref, key),
    });
    if (merged === 'out_of_time') {
      const suspended = { output: await output.suspend(), errors: await errors.suspend() };
      await saveCheckpoint(deps.files, checkpointKey, { version: 1, asOf, progress, ...suspended });
      return { ...run, next: 'snapshot', checkpoint: checkpointKey };
    }
    const files = { output: stored(await output.complete()), errors: stored(await errors.complete()) };
    await publish(deps, ref, { snapshot, asOf, readyAt: deps.clock.now(), ...files });
  } catch (error) {
    if (!(await hasEnded(deps, ref, error))) throw error;
    deps.log.info('The batch has ended: no snapshot of it is needed', { batchId, snapshot });
    await discard([output, errors]);
  }
  if (input.checkpoint !== undefined) await deps.files.delete([checkpointKey]);
  return end;
}

function stored(file: WrittenFile | undefined): StoredFile | undefined {
  return file && { key: file.key, bytes: file.bytes };
}

/** Puts the snapshot on the record, and takes those off that nobody can be reading any more, with their files. */
async function publish({ snapshots, files, settings, clock }: Deps, ref: BatchRef, made: Snapshot): Promise<void> {
  const before = (await snapshots.get(ref.batchId))?.ready ?? [];
  const ready = [...before.filter(({ snapshot }) => snapshot !== made.snapshot), made];
  const outlived = outlivedSnapshots(
    ready.sort((a, b) => a.snapshot - b.snapshot),
    clock.now(),
    settings.files.downloadUrlSeconds,
  );
  const keys = outlived.flatMap(({ output, errors }) => [output, errors].flatMap((file) => (file ? [file.key] : [])));
  if (keys.length > 0) await files.delete(keys);
  await snapshots.setReady(
    ref.batchId,
    made,
    outlived.map(({ snapshot }) => snapshot),
  );
}

/** A committed part is not there: the batch has ended and its parts are deleted, or storage has lost it. */
async function missingPart(deps: Deps, ref: BatchRef, key: string): Promise<void> {
  const head = await deps.batches.get(ref);
  if (!head || isEnded(head.status)) throw new EndedMeanwhile();
  deps.log.error('A committed part is missing: a snapshot leaves out its lines', { ...ref, key });
}

/** Bad lines and results that a retry has taken over are parts as well; what is gone after the end is no failure. */
async function hasEnded({ batches }: Deps, ref: BatchRef, error: unknown): Promise<boolean> {
  if (error instanceof EndedMeanwhile) return true;
  if (!(error instanceof FileMissing)) return false;
  const head = await batches.get(ref);
  return !head || isEnded(head.status);
}

async function discard(files: ResultFile[]): Promise<void> {
  for (const file of files) await file.discard();
}
