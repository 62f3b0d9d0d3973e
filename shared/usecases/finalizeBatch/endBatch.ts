import type { Settings } from '../../contract/settings.ts';
import {
  type BatchError,
  type BatchHead,
  MAX_BATCH_ERRORS,
  type Receipt,
  type StoredFile,
} from '../../domain/batch.ts';
import { type EndedStatus, isEnded } from '../../domain/batchStatus.ts';
import { LINE_ERROR_CODES, VALIDATION_CODES } from '../../domain/errors.ts';
import type { LineIndexWriter } from '../../domain/lines/lineIndex.ts';
import { objectKeys } from '../../domain/objectKeys.ts';
import { cancelledAt } from '../../domain/outcome.ts';
import type { Ports } from '../../ports.ts';
import { readPlan } from '../readPlan.ts';
import type { Gathering, Progress } from './checkpoint.ts';
import { ResultsInconsistent } from './mergeResults.ts';
import type { ResultFile, WrittenFile } from './resultFile.ts';

type Deps = Pick<Ports, 'batches' | 'files' | 'clock' | 'log'> & { settings: Settings };
type Gathered = {
  head: BatchHead;
  attempt: number;
  gathering: Gathering;
  progress: Progress;
  output: ResultFile;
  errors: ResultFile;
  lines: LineIndexWriter;
};

const DAY_MS = 86_400_000;

/** Checks the counts, completes the files, writes the receipt, and moves the batch to its end. */
export async function endBatch(deps: Deps, gathered: Gathered): Promise<BatchHead | 'superseded'> {
  const { batches, clock, settings } = deps;
  const { head, attempt, gathering, progress } = gathered;
  const { completed, failed } = progress;
  const kept = gathering.keptGone ? 0 : (head.plan?.kept ?? 0);
  await checkCounts(deps, head, kept, gathering, progress);

  const output = await gathered.output.complete();
  const errors = await gathered.errors.complete();

  // Only an open batch's record is written to; what another attempt of the same batch would write is the same.
  const standing = await batches.get(head);
  if (!standing || standing.attempt !== attempt) return 'superseded';
  if (isEnded(standing.status)) return names(standing, output, errors) ? standing : 'superseded';
  const first = await firstErrors(deps, gathered);
  const written = { receipt: receiptOf(head, progress, output, errors), errors: first };
  if ((await batches.setReceipt(head.batchId, gathering.number, written)) === 'superseded') return 'superseded';
  const lineIndex = await putLineIndex(deps, gathered);

  const { usage } = gathering;
  const change = {
    // The file's lines: where validation ended the batch its good lines are in no file, but are not unasked for.
    requestCounts: { total: (head.plan?.lines ?? 0) + kept, completed, failed },
    filesExpireAt: clock.now() + settings.files.keepDays * DAY_MS,
    ...(usage.inputTokens + usage.outputTokens > 0 ? { usage } : {}),
    ...(output ? { outputFile: stored(output) } : {}),
    ...(errors ? { errorsFile: stored(errors) } : {}),
    ...(lineIndex ? { lineIndex } : {}),
  };
  let to = endOf(standing, gathering);
  for (;;) {
    // Anew each time: a cancel that came in between was entered later than the first try.
    const now = clock.now();
    // The record's outcome decides the end: a cancel that came in while this gathered changes it, not what was gathered.
    if (to === 'cancelled' && gathering.outcome.kind !== 'cancelled') await batches.fixOutcome(head, cancelledAt(now));
    const ways = to === 'cancelled' ? {} : UNCANCELLED;
    const moved = await batches.move(head, to, { now, attempt, gathering: gathering.number, change, ...ways });
    if (moved.result === 'not_found') return 'superseded';
    if (moved.result === 'moved') return moved.head;
    if (moved.result === 'already') return names(moved.head, output, errors) ? moved.head : 'superseded';
    const newest = moved.head.attempt === attempt && moved.head.gathering === gathering.number;
    if (moved.head.status === 'cancelling' && newest && to !== 'cancelled') to = 'cancelled';
    else if (isEnded(moved.head.status) || !newest) return 'superseded';
    else throw new Error(`Batch ${head.batchId} cannot move from ${moved.head.status} to ${to}`);
  }
}

/** A batch whose cancel was answered never ends as anything else, though the table lets it fail. */
const UNCANCELLED = { from: ['validating', 'finalizing'] } as const;

function endOf(head: BatchHead, { outcome }: Gathering): EndedStatus {
  return head.status === 'cancelling' ? 'cancelled' : outcome.kind;
}

/** Each line ends in exactly one place: as many were written as the plan's shards, its bad lines and the kept are. */
async function checkCounts(
  deps: Deps,
  head: BatchHead,
  kept: number,
  { planGone, invalidGone }: Gathering,
  { completed, failed }: Progress,
): Promise<void> {
  const { plan, input } = head;
  let expected = (plan?.invalid?.lines ?? 0) + kept;
  if (plan && (planGone || invalidGone)) {
    // Where the input is gone as well, or validation had failed, what there is is all that can be known.
    const isThere = input && (await deps.files.info(input.key))?.etag === input.etag;
    if (!isThere || (plan.shards === 0 && plan.runnable > 0)) return;
    expected += plan.runnable;
  } else if (plan) for await (const { runnable } of readPlan(deps, plan)) expected += runnable;
  if (completed + failed !== expected) {
    throw new ResultsInconsistent(
      `Batch ${head.batchId} has ${expected} lines, but ${completed} results and ${failed} failures were gathered`,
    );
  }
}

/** Beside the files, for a retry; none where there is no file. */
async function putLineIndex(
  deps: Deps,
  { head, gathering, progress, lines }: Gathered,
): Promise<StoredFile | undefined> {
  if (progress.completed + progress.failed === 0) return undefined;
  const key = objectKeys.lineIndex(head, gathering.number);
  await deps.files.put(key, lines.bytes);
  return { key, bytes: lines.bytes.length };
}

/** Problems of the batch as a whole first, then the first failed lines. Validation's findings keep their `param`. */
async function firstErrors(deps: Deps, { head, gathering, progress }: Gathered): Promise<BatchError[]> {
  const before = (await deps.batches.getDetail(head.batchId))?.errors ?? [];
  const ofBatch = before.filter(({ line }) => line === null);
  const { kind, reason, message } = gathering.outcome;
  // Bad lines explain themselves.
  if (kind === 'failed' && reason !== 'invalid_input' && message !== undefined && ofBatch.length === 0) {
    const ofInput = VALIDATION_CODES.find((known) => known === reason);
    const code = ofInput ?? LINE_ERROR_CODES.find((known) => known === reason) ?? 'processing_failed';
    ofBatch.push({ code, line: null, message, param: ofInput ? 'input_file_url' : null });
  }
  const params = new Map(before.map(({ line, code, param }) => [`${line} ${code}`, param]));
  const ofLines = progress.errors.map((error) => ({
    ...error,
    param: params.get(`${error.line} ${error.code}`) ?? null,
  }));
  return [...ofBatch, ...ofLines].slice(0, MAX_BATCH_ERRORS);
}

function receiptOf(
  head: BatchHead,
  { completed, failed }: Progress,
  output: WrittenFile | undefined,
  errors: WrittenFile | undefined,
): Receipt {
  const digest = (file: WrittenFile | undefined) => file && { bytes: file.bytes, sha256: file.sha256 };
  return {
    lines: completed + failed,
    completed,
    failed,
    input: head.plan?.input ?? null,
    output: digest(output) ?? null,
    errors: digest(errors) ?? null,
  };
}

function stored({ key, bytes }: WrittenFile): StoredFile {
  return { key, bytes };
}

function names(head: BatchHead, output: WrittenFile | undefined, errors: WrittenFile | undefined): boolean {
  return head.outputFile?.key === output?.key && head.errorsFile?.key === errors?.key;
}
