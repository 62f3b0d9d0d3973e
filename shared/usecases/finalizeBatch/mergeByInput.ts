import { customIdOf } from '../../domain/lines/customId.ts';
import { FailedLines } from '../../domain/lines/lineIndex.ts';
import { type PhysicalLine, readLines } from '../../domain/lines/lineReader.ts';
import { reasonNotRun } from '../../domain/outcome.ts';
import type { SegmentRef, ShardRange } from '../../domain/shard.ts';
import { FileChanged, FileMissing } from '../../ports.ts';
import { readRetryLines } from '../readRetryLines.ts';
import { ChunkBuffers } from './chunkBuffers.ts';
import { LOST, type Merge, Writer } from './mergeResults.ts';
import { ShardSegments, segmentsOf } from './shardSegments.ts';
import { SideResults } from './sideResults.ts';

const NO_LINE = Number.POSITIVE_INFINITY;

/**
 * The merge of a batch whose plan, or whose segment of bad lines, is gone from the bucket: nothing says any more which
 * lines a shard spans, or why a line was bad. The shards' records still name every committed result, and the input names
 * every line: it is read again, and a line without a result is given the reason why the batch ended.
 */
export async function mergeByInput(merge: Merge): Promise<'done' | 'out_of_time'> {
  const { deps, head, progress, outcome } = merge;
  const writer = new Writer(merge);
  const sides = await SideResults.open(deps.files, head, progress, merge);
  const results = new ShardSegments(deps.files, await allSegments(merge), {
    buffers: new ChunkBuffers(),
    onMissing: merge.onMissing,
  });
  if (progress.afterLine > 0) await results.skipTo(progress.afterLine);
  const reason = (outcome && reasonNotRun(outcome.kind)) ?? LOST;
  const asked = linesOfInput(merge);
  try {
    let next = await asked.next();
    for (;;) {
      const askedLine = next.done ? NO_LINE : next.value.line;
      const side = sides.current;
      const line = Math.min(askedLine, side?.line ?? NO_LINE, (await results.nextLine()) ?? NO_LINE);
      if (line === NO_LINE) return 'done';
      const result = (await results.take(line)) ?? (side?.line === line ? side : undefined);
      if (result) await writer.copy(result);
      else if (!next.done && askedLine === line) await writer.fail(line, customIdOf(next.value.content), reason, 0);
      if (side?.line === line) await sides.advance();
      if (askedLine === line) next = await asked.next();
      progress.afterLine = line;
      if (merge.isTimeOver()) return 'out_of_time';
    }
  } finally {
    await asked.return();
  }
}

/** Of all shards, whatever lines they span: their lines go up from shard to shard. */
async function allSegments({ deps, head, onMissing }: Merge): Promise<SegmentRef[]> {
  const segments: SegmentRef[] = [];
  for (let shard = 0; shard < (head.plan?.shards ?? 0); shard++) {
    // Sealed already: this reads the record as it stays.
    const record = await deps.shards.seal(head.batchId, unknownRange(shard));
    segments.push(...(await segmentsOf(deps.files, record, onMissing)));
  }
  return segments;
}

/** What a shard is sealed with whose range is not known any more: a record that is there keeps its own. */
export function unknownRange(shard: number): ShardRange {
  return { shard, start: 0, end: 0, firstLine: 1, lines: 1, runnable: 1 };
}

/** The lines that must have a result, from where the merge stands; as far as they are still known. */
async function* linesOfInput({
  deps,
  head,
  progress,
  maxLineBytes,
}: Merge): AsyncGenerator<PhysicalLine, void, undefined> {
  const { plan, input, retry } = head;
  // A batch whose validation failed has its bad lines alone in its files, and which those were is gone.
  if (!plan || !input || (plan.shards === 0 && plan.runnable > 0)) return;
  try {
    const only = retry && new FailedLines(await readRetryLines(deps.files, retry));
    for await (const physical of readLines(await deps.files.read(input.key, { ifMatch: input.etag }), { maxLineBytes }))
      if (physical.line > progress.afterLine && (!only || only.has(physical.line))) yield physical;
  } catch (error) {
    if (!(error instanceof FileChanged || error instanceof FileMissing)) throw error;
    deps.log.error('The input is gone as well: lines without a result are not known', { batchId: head.batchId });
  }
}
