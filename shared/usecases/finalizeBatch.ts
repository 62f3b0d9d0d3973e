import type { Settings } from '../contract/settings.ts';
import type { StepInput, StepOutput } from '../contract/steps.ts';
import type { BatchHead, BatchRef } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { LineIndexWriter } from '../domain/lines/lineIndex.ts';
import { objectKeys } from '../domain/objectKeys.ts';
import type { Invocation, Ports } from '../ports.ts';
import { announceEnd } from './announceEnd.ts';
import { FinalizeCheckpointSchema, handOverClock, loadCheckpoint, saveCheckpoint } from './finalizeBatch/checkpoint.ts';
import { endBatch } from './finalizeBatch/endBatch.ts';
import { mergeByInput } from './finalizeBatch/mergeByInput.ts';
import { mergeResults } from './finalizeBatch/mergeResults.ts';
import { openFiles, progressAtStart } from './finalizeBatch/openFiles.ts';
import type { ResultFile } from './finalizeBatch/resultFile.ts';
import { startGathering } from './finalizeBatch/startGathering.ts';

type Deps = Pick<Ports, 'batches' | 'shards' | 'controls' | 'files' | 'workflow' | 'clock' | 'log'> & {
  settings: Settings;
};

/** One request's worth: what an end that failed for weeks has left behind goes by the bucket's lifecycle rule. */
const MAX_OTHERS = 300;

/** Another attempt has taken over, or has ended the batch, while this one worked. */
class Overtaken extends Error {
  override readonly name = 'Overtaken';
}

/**
 * Ends the batch: gathers what was committed, writes the result files in line order, and moves the status. Where one
 * invocation is too short the next begins once more, and leaves a checkpoint to the one after it where it has to. Run
 * again, it gives the same bytes.
 */
export async function finalizeBatch(
  deps: Deps,
  input: StepInput<'finalizeBatch'>,
  invocation: Invocation,
): Promise<StepOutput<'finalizeBatch'>> {
  const isTimeOver = handOverClock(invocation);
  const ref: BatchRef = { projectId: input.projectId, batchId: input.batchId };
  const run = { version: input.version, ...ref, attempt: input.attempt };
  const end = { ...run, next: 'end' as const };

  const head = await deps.batches.get(ref);
  if (!head) return end;
  if (isEnded(head.status)) {
    await afterEnd(deps, head);
    return end;
  }
  if (head.attempt !== input.attempt) return end;

  if (!input.settled && (await mustSettle(deps, head))) {
    return { ...run, next: 'settle', waitSeconds: deps.settings.worker.settleSeconds, settled: true };
  }

  const checkpointKey = objectKeys.checkpoint(ref, input.attempt, 'finalize');
  const saved =
    input.checkpoint === undefined
      ? undefined
      : await loadCheckpoint(deps.files, input.checkpoint, FinalizeCheckpointSchema);
  const gathering = saved?.gathering ?? (await startGathering(deps, head, input.attempt));
  if (gathering === 'superseded') return end;

  const { number } = gathering;
  const keys = { output: objectKeys.output(ref, number), errors: objectKeys.errors(ref, number) };
  // Most batches end in an attempt's first invocation, which so takes the faster hash, whose state cannot be left. One
  // that is too large for that begins once more, by the hash whose state can.
  const resumable = input.checkpoint !== undefined;
  const { output, errors, progress } = await openFiles(deps, keys, resumable, saved);
  // Where the merge starts anew, so does the index.
  const lines = new LineIndexWriter(progress === saved?.progress ? saved.lines : undefined);
  try {
    const merge = gathering.planGone || gathering.invalidGone ? mergeByInput : mergeResults;
    const merged = await merge({
      deps,
      head,
      outcome: gathering.outcome,
      output,
      errors,
      lines,
      withoutKept: gathering.keptGone,
      withoutInvalid: gathering.invalidGone,
      progress,
      maxLineBytes: deps.settings.limits.lineBytes,
      isTimeOver,
      onMissing: (key) => missingPart(deps, ref, input.attempt, key),
    });
    if (merged === 'out_of_time') {
      const state = resumable
        ? { progress, lines, output: await output.suspend(), errors: await errors.suspend() }
        : { progress: progressAtStart(), lines: new LineIndexWriter() };
      await saveCheckpoint(deps.files, checkpointKey, {
        version: 1,
        gathering,
        ...state,
        lines: Buffer.from(state.lines.bytes).toString('base64'),
      });
      if (!resumable) await dropBegun(deps, [output, errors]);
      return { ...run, next: 'finalize', checkpoint: checkpointKey };
    }
    const ended = await endBatch(deps, { head, attempt: input.attempt, gathering, progress, output, errors, lines });
    if (ended === 'superseded') throw new Overtaken();
    await afterEnd(deps, ended);
  } catch (error) {
    if (!(error instanceof Overtaken)) throw error;
    deps.log.info('Another attempt ends the batch; this one takes back its files', { ...ref, attempt: input.attempt });
    await discardOwn(deps, ref, [output, errors], objectKeys.lineIndex(ref, number));
  }
  return end;
}

/**
 * A cancel, the check after the deadline, or a step that failed for good stops the attempt that runs, but not its
 * workers: until they have seen the control record and have committed what they hold, sealing would lose results that
 * were paid for.
 */
async function mustSettle({ controls }: Deps, head: BatchHead): Promise<boolean> {
  // Once a gathering has begun the shards are sealed.
  if (head.gathering !== undefined || !head.plan?.shards) return false;
  // Fixed by somebody else than a Finalize: the map may have been left in its middle.
  if (head.outcome) return head.status !== 'finalizing';
  // The first attempt comes here by its own map's end.
  if (head.attempt === 1) return false;
  return (await controls.get(head.batchId))?.action === 'stop';
}

/** A committed part is not there: either the batch has ended and its parts are deleted, or storage has lost it. */
async function missingPart(deps: Deps, ref: BatchRef, attempt: number, key: string): Promise<void> {
  const head = await deps.batches.get(ref);
  if (!head || isEnded(head.status) || head.attempt !== attempt) throw new Overtaken();
  deps.log.error('A committed part is missing: its lines become processing_failed', { ...ref, key });
}

/** The next invocation makes them from their beginning. Parts that stay go by the bucket's lifecycle rule. */
async function dropBegun({ log }: Deps, files: ResultFile[]): Promise<void> {
  for (const file of files)
    await file.discard().catch((error: unknown) => log.warn('begun file not dropped', { key: file.key, error }));
}

/** A twin that goes on from the same checkpoint writes the same keys: what the record names stays. */
async function discardOwn(deps: Deps, ref: BatchRef, files: ResultFile[], lineIndexKey: string): Promise<void> {
  const head = await deps.batches.get(ref);
  const named = [head?.outputFile?.key, head?.errorsFile?.key, head?.lineIndex?.key];
  for (const file of files) if (!named.includes(file.key)) await file.discard();
  if (!named.includes(lineIndexKey)) await deps.files.delete([lineIndexKey]);
}

/** Gatherings before the one that has ended the batch may have died with files that nothing names. */
function filesOfOthers(head: BatchHead): string[] {
  const earlier = Array.from({ length: (head.gathering ?? 1) - 1 }, (_, index) => index + 1).slice(-MAX_OTHERS);
  return earlier.flatMap((number) => [
    objectKeys.output(head, number),
    objectKeys.errors(head, number),
    objectKeys.lineIndex(head, number),
  ]);
}

/** What follows the end, and may be repeated: tell the client, and drop what the files were made from. */
async function afterEnd(deps: Deps, head: BatchHead): Promise<void> {
  if (head.notification === 0) await announceEnd(deps, head);
  try {
    await deps.files.deletePrefix(objectKeys.parts(head));
    await deps.files.delete(filesOfOthers(head));
  } catch (error) {
    // The bucket's lifecycle rule deletes parts after 14 days.
    deps.log.warn('Parts of an ended batch were not deleted', { batchId: head.batchId, error });
  }
}
