import type { BatchHead, Plan } from '../../shared/domain/batch.ts';
import { errorLine, outputLine } from '../../shared/domain/lines/resultLine.ts';
import { encodeSegment, type SegmentEntry, segmentEntry } from '../../shared/domain/lines/segment.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { initialBitmap, type SegmentRef, type ShardRange, setBit } from '../../shared/domain/shard.ts';
import type { BatchWorld } from './batchWorld.ts';

/** What stands in a line of the input. */
export type TestLine = 'runnable' | 'blank' | 'bad';

export type LaidDown = { head: BatchHead; ranges: ShardRange[]; plan: Plan };

/**
 * Writes an input of such lines and the plan that Validate makes of it, in shards of `shardLines` lines. `kept`: how many
 * results a retry takes over; their lines are blank here.
 */
export async function layDown(
  world: BatchWorld,
  head: BatchHead,
  lines: TestLine[],
  shardLines: number,
  kept = 0,
): Promise<LaidDown> {
  const texts = lines.map((line, index) =>
    line === 'blank' ? '' : line === 'bad' ? '[]' : JSON.stringify({ custom_id: customId(index + 1), method: 'POST' }),
  );
  const inputKey = objectKeys.input(head, 1);
  const { etag } = await world.files.put(inputKey, texts.map((text) => `${text}\n`).join(''));
  const starts = [0];
  for (const text of texts) starts.push((starts.at(-1) ?? 0) + Buffer.byteLength(text) + 1);

  const ranges: ShardRange[] = [];
  for (let from = 0; from < lines.length; from += shardLines) {
    const slice = lines.slice(from, from + shardLines);
    const runnable = slice.filter((line) => line === 'runnable').length;
    if (runnable === 0) continue;
    const skip = new Uint8Array(Math.ceil(slice.length / 8));
    for (const [index, line] of slice.entries()) if (line !== 'runnable') setBit(skip, index);
    ranges.push({
      shard: ranges.length,
      start: starts[from] ?? 0,
      end: starts[from + slice.length] ?? 0,
      firstLine: from + 1,
      lines: slice.length,
      runnable,
      ...(runnable === slice.length ? {} : { skip: Buffer.from(skip).toString('base64') }),
    });
  }
  const bad: SegmentEntry[] = lines.flatMap((line, index) =>
    line === 'bad' ? [segmentEntry(index + 1, 'e', badLine(head, index + 1))] : [],
  );
  const segment = encodeSegment(bad);
  const invalidKey = objectKeys.invalid(head, 1);
  if (bad.length > 0) await world.files.put(invalidKey, segment);
  const runnable = lines.filter((line) => line === 'runnable').length;
  const plan: Plan = {
    key: objectKeys.plan(head, 1),
    shards: ranges.length,
    lines: runnable + bad.length,
    runnable,
    ...(bad.length > 0 ? { invalid: { key: invalidKey, bytes: segment.length, lines: bad.length } } : {}),
    ...(kept > 0 ? { kept } : {}),
    input: { bytes: starts.at(-1) ?? 0, sha256: 'input-sha' },
  };
  await world.files.put(plan.key, ranges.map((range) => `${JSON.stringify(range)}\n`).join(''));
  await world.batches.setInput(head, 1, { key: inputKey, bytes: plan.input.bytes, etag });
  const moved = await world.batches.move(head, 'in_progress', {
    now: world.clock.now(),
    change: { plan, requestCounts: { total: plan.lines + kept, completed: kept, failed: bad.length } },
  });
  if (moved.result !== 'moved') throw new Error(`The batch did not move: ${moved.result}`);
  return { head: moved.head, ranges, plan };
}

export const customId = (line: number) => `request-${line} ü`;
export const goodLine = ({ batchId }: BatchHead, line: number) =>
  outputLine(batchId, { line, customId: customId(line) }, 200, `{"answer":"${line} ☃"}`);
export const failedLine = ({ batchId }: BatchHead, line: number) =>
  errorLine(batchId, {
    line,
    customId: customId(line),
    error: { code: 'model_error', message: `No ${line}` },
    attempts: 1,
    response: { statusCode: 400, body: '{"error":{}}' },
  });
export const badLine = ({ batchId }: BatchHead, line: number) =>
  errorLine(batchId, { line, customId: null, error: { code: 'invalid_line', message: 'Not an object' }, attempts: 0 });

/** A worker's commits on a shard: each list of lines is one segment. Lines in `failed` failed. */
export async function commitSegments(
  world: BatchWorld,
  head: BatchHead,
  range: ShardRange,
  segments: number[][],
  options: { failed?: (line: number) => boolean; foldAt?: number; attempts?: Record<string, number> } = {},
): Promise<string[]> {
  const record = await world.shards.claim(head.batchId, range);
  if (record === 'sealed') throw new Error('The shard is sealed');
  const isFailed = options.failed ?? (() => false);
  const done = record.done.length > 0 ? Uint8Array.from(record.done) : initialBitmap(range);
  let refs: SegmentRef[] = record.segments;
  const keys: string[] = [];
  for (const [index, lines] of segments.entries()) {
    const entries = lines.map((line) =>
      isFailed(line) ? segmentEntry(line, 'e', failedLine(head, line)) : segmentEntry(line, 'o', goodLine(head, line)),
    );
    const body = encodeSegment(entries);
    const commits = record.commits + index;
    const key = objectKeys.segment(head, range.shard, record.epoch, commits, 'n');
    await world.files.put(key, body);
    keys.push(key);
    const segment = { key, bytes: body.length, first: Math.min(...lines), last: Math.max(...lines) };
    for (const line of lines) setBit(done, line - range.firstLine);
    let foldInto: string | undefined;
    if (options.foldAt === index) {
      foldInto = objectKeys.manifest(head, range.shard, record.epoch, commits, 'n');
      await world.files.put(foldInto, JSON.stringify([...refs, segment]));
      refs = [];
    } else refs = [...refs, segment];
    const failed = lines.filter(isFailed).length;
    const committed = await world.shards.commit(head.batchId, {
      shard: range.shard,
      epoch: record.epoch,
      commits,
      segment,
      done: Uint8Array.from(done),
      completed: lines.length - failed,
      failed,
      usage: { inputTokens: lines.length, outputTokens: 2 * lines.length },
      attempts: options.attempts ?? {},
      ...(foldInto === undefined ? {} : { foldInto }),
    });
    if (committed !== 'committed') throw new Error('The commit was lost');
  }
  return keys;
}

/** All of a shard's runnable lines. */
export function runnableLines(range: ShardRange, lines: TestLine[]): number[] {
  return Array.from({ length: range.lines }, (_, index) => range.firstLine + index).filter(
    (line) => lines[line - 1] === 'runnable',
  );
}

export async function readText(world: Pick<BatchWorld, 'files'>, key: string | undefined): Promise<string> {
  if (key === undefined) return '';
  const body = await world.files.readSmall(key, 1 << 30);
  if (!body) throw new Error(`There is no file ${key}`);
  return Buffer.from(body).toString();
}
