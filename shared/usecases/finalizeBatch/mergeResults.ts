import type { BatchError, BatchHead, Outcome } from '../../domain/batch.ts';
import { MAX_BATCH_ERRORS } from '../../domain/batch.ts';
import type { LineIndexWriter } from '../../domain/lines/lineIndex.ts';
import { errorLine } from '../../domain/lines/resultLine.ts';
import { reasonNotRun } from '../../domain/outcome.ts';
import { initialBitmap, isBitSet, type ShardRange, type ShardRecord } from '../../domain/shard.ts';
import type { Ports } from '../../ports.ts';
import { readPlan } from '../readPlan.ts';
import type { Progress } from './checkpoint.ts';
import { ChunkBuffers } from './chunkBuffers.ts';
import { CustomIds } from './customIds.ts';
import type { ResultFile } from './resultFile.ts';
import type { ResultEntry } from './segmentReader.ts';
import { type OnMissing, ShardSegments, segmentsOf } from './shardSegments.ts';
import { SideResults } from './sideResults.ts';

/** The shard number that stands for what comes after the last shard. */
const AFTER_SHARDS = Number.MAX_SAFE_INTEGER;

/** The records do not add up to one result a line. Trying again changes nothing. */
export class ResultsInconsistent extends Error {
  override readonly name = 'ResultsInconsistent';
}

export type Merge = {
  deps: Pick<Ports, 'files' | 'shards' | 'log'>;
  head: BatchHead;
  /** Why lines were not run. Undefined: they may yet be (a snapshot of a running batch), and are left out. */
  outcome: Outcome | undefined;
  output: ResultFile;
  errors: ResultFile;
  /** Is told of every line, where that is to be known later. */
  lines?: LineIndexWriter;
  /** The results that were to be taken over are gone, or the segment of the bad lines is. */
  withoutKept?: boolean;
  withoutInvalid?: boolean;
  /** Goes on from here, and is changed in place. */
  progress: Progress;
  maxLineBytes: number;
  isTimeOver(): boolean;
  onMissing: OnMissing;
};

/**
 * Copies every line's result into its file, in line order: the shards one after another, in each its segments side by
 * side, the bad lines and what a retry keeps between them, and a reason for each line that was not run. Without an
 * outcome nothing is sealed: what is committed when a shard's turn comes is copied, with gaps.
 */
export async function mergeResults(merge: Merge): Promise<'done' | 'out_of_time'> {
  const { deps, head, progress } = merge;
  const { plan } = head;
  if (!plan) return 'done';
  const writer = new Writer(merge);
  const sides = await SideResults.open(deps.files, head, progress, merge);
  const buffers = new ChunkBuffers();
  const startedAfter = progress.afterLine;
  for await (const range of readPlan(deps, plan)) {
    if (range.shard < progress.shard) continue;
    // Lines far apart are a shard each, and inside of those nobody looks at the time.
    if (progress.afterLine > startedAfter && merge.isTimeOver()) return 'out_of_time';
    if (!(await mergeShard(merge, writer, sides, buffers, range))) return 'out_of_time';
  }
  progress.shard = AFTER_SHARDS;
  return (await copySides(merge, writer, sides, Number.POSITIVE_INFINITY)) ? 'done' : 'out_of_time';
}

/** False: time is over, `progress` says where. */
async function mergeShard(
  merge: Merge,
  writer: Writer,
  sides: SideResults,
  buffers: ChunkBuffers,
  range: ShardRange,
): Promise<boolean> {
  const { deps, head, progress, outcome } = merge;
  progress.shard = range.shard;
  const record = await recordOf(merge, range);
  const notToRun = initialBitmap(range);
  const segments = await segmentsOf(deps.files, record, merge.onMissing);
  const results = new ShardSegments(deps.files, segments, { buffers, onMissing: merge.onMissing });
  const customIds = new CustomIds(deps, head.input, range, merge);
  const reason = outcome && reasonNotRun(outcome.kind);
  try {
    if (progress.afterLine >= range.firstLine) await results.skipTo(progress.afterLine);
    const last = range.firstLine + range.lines - 1;
    for (let line = Math.max(range.firstLine, progress.afterLine + 1); line <= last; line++) {
      if (sides.isDue(line) && !(await copySides(merge, writer, sides, line))) return false;
      const index = line - range.firstLine;
      if (!isBitSet(notToRun, index)) {
        // Awaited only where there is something to wait for: for each line that costs more than to copy it.
        const taken = results.take(line);
        const result = taken instanceof Promise ? await taken : taken;
        if (result !== undefined) {
          const copied = writer.copy(result);
          if (copied !== undefined) await copied;
        } else if (outcome) {
          const done = isBitSet(record.done, index);
          const error = done ? LOST : reason;
          if (!error) throw new ResultsInconsistent(`Line ${line} of completed batch ${head.batchId} was not run`);
          await writer.fail(line, await customIds.at(line), error, record.attempts[String(index)] ?? 0);
        }
      }
      progress.afterLine = line;
      // Looked at after each line (one may have 10 MB), so that every invocation gets a line done at least.
      if (line < last && merge.isTimeOver()) return false;
    }
    return true;
  } finally {
    results.close();
    await customIds.close();
  }
}

type Committed = Pick<ShardRecord, 'segments' | 'manifests' | 'attempts'> & { done: Uint8Array };

async function recordOf({ deps, head, outcome }: Merge, range: ShardRange): Promise<Committed> {
  // Sealed already, or done: this reads the record as it stays.
  if (outcome) return deps.shards.seal(head.batchId, range);
  const standing = await deps.shards.get(head.batchId, range.shard);
  return standing ?? { segments: [], manifests: [], done: initialBitmap(range), attempts: {} };
}

export const LOST = { code: 'processing_failed', message: 'The result of this line was lost.' } as const;

/** Copies what no shard holds, up to and with line `upTo`. False: time is over. */
async function copySides(merge: Merge, writer: Writer, sides: SideResults, upTo: number): Promise<boolean> {
  while (sides.current && sides.isDue(upTo)) {
    await writer.copy(sides.current);
    await sides.advance();
    if (sides.current && merge.isTimeOver()) return false;
  }
  return true;
}

/** Counts, copies, and keeps the first failed lines for the record. */
export class Writer {
  readonly #merge: Merge;
  constructor(merge: Merge) {
    this.#merge = merge;
  }

  copy(entry: ResultEntry): Promise<void> | undefined {
    const { output, errors, lines, progress } = this.#merge;
    lines?.add(entry.line, entry.file);
    if (entry.file === 'o') {
      progress.completed++;
      return output.append(entry.json);
    }
    progress.failed++;
    if (progress.errors.length < MAX_BATCH_ERRORS) progress.errors.push(batchError(entry.line, entry.json));
    return errors.append(entry.json);
  }

  fail(
    line: number,
    customId: string | null,
    error: Parameters<typeof errorLine>[1]['error'],
    attempts: number,
  ): Promise<void> | undefined {
    const json = Buffer.from(errorLine(this.#merge.head.batchId, { line, customId, error, attempts }));
    return this.copy({ line, file: 'e', json });
  }
}

/** `error` of an errors-file line of our own making. */
function batchError(line: number, json: Uint8Array): BatchError {
  const { error } = JSON.parse(Buffer.from(json).toString()) as { error: { code: string; message: string } };
  return { code: error.code, line, message: error.message, param: null };
}
