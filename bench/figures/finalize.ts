import type { BatchHead, Plan } from '../../shared/domain/batch.ts';
import { encodeSegment, type SegmentEntry, segmentEntry } from '../../shared/domain/lines/segment.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { initialBitmap, type SegmentRef, type ShardRange } from '../../shared/domain/shard.ts';
import { startStepProcesses } from '../../test/support/stepProcess.ts';
import { alternately, type FigureGroup, median, ratioOf } from '../measured.ts';
import { startBenchProcess } from '../processes/benchProcess.ts';
import type { CopyAnswer, CopyQuestion } from '../processes/copy.ts';

/** 1 GB of results of 2 KB, in segments of the usual size and shards of four of them. */
const SHARDS = 250;
const LINES_A_SHARD = 2_000;
const SEGMENTS_A_SHARD = 4;
const RESULT_BYTES = 2_000;
/** Results come about in the lines' order: one is overtaken by so many at most. */
const OVERTAKEN_BY = 64;
const MB = 1e6;
/** Segments written, and shards committed, at a time. */
const AT_ONCE = 8;

const PLAN_KEY = 'shards/bench-plan.jsonl';
const COPY_KEY = 'outputs/bench-copy';

type Steps = Awaited<ReturnType<typeof startStepProcesses>>;
type Shard = { range: ShardRange; segments: SegmentRef[] };

/**
 * The deployed Finalize in a process of its own, beside a process that only copies its output. Both read from, and write
 * to, the same local S3. The segments lie where no Finalize deletes them, so that each turn merges the same ones.
 */
export const finalize: FigureGroup = {
  ids: ['finalize'],
  async measure({ repeats, say }) {
    await using stack = new AsyncDisposableStack();
    const steps = await startStepProcesses({
      providers: { bench: { kind: 'simulator' } },
      models: { default: { provider: 'bench', model: 'bench-model', endpoints: ['chat/completions'] } },
    });
    stack.defer(() => steps.close());
    say('finalize: writing 1 GB of segments');
    const ranges = Array.from({ length: SHARDS }, (_, shard) => rangeOf(shard));
    const shards = await eachOf(ranges, (range) => writeShard(steps, range));
    await steps.files.put(PLAN_KEY, ranges.map((range) => `${JSON.stringify(range)}\n`).join(''));

    const step = await steps.startStep('finalizeBatch');
    const copier = await startBenchProcess<CopyQuestion, CopyAnswer>(new URL('../processes/copy.ts', import.meta.url), {
      env: steps.environment,
    });
    stack.defer(() => copier.close());
    let output: string | undefined;
    const finalizeOnce = async () => {
      const batch = await createGathered(steps, shards);
      const start = performance.now();
      const { next } = await step.invoke({ ...steps.run(batch), settled: true });
      const seconds = (performance.now() - start) / 1_000;
      const { status, outputFile, requestCounts } = await steps.head(batch);
      if (next !== 'end' || status !== 'completed' || !outputFile || requestCounts.failed > 0)
        throw new Error(`Finalize ended with ${next}, and the batch is ${status}`);
      // The first is what is copied; the others make room.
      if (output === undefined) output = outputFile.key;
      else await steps.files.delete([outputFile.key]);
      const speed = outputFile.bytes / MB / seconds;
      say(`  Finalize ${speed.toFixed(0)} MB/s`);
      return speed;
    };
    const copyOnce = async () => {
      if (output === undefined) throw new Error('There is nothing to copy yet');
      const { seconds, bytes } = await copier.ask({
        bucket: steps.environment.BUCKET_NAME,
        from: output,
        to: COPY_KEY,
      });
      const speed = bytes / MB / seconds;
      say(`  copy ${speed.toFixed(0)} MB/s`);
      return speed;
    };
    await alternately(1, finalizeOnce, copyOnce);
    const { ours, theirs } = await alternately(repeats, finalizeOnce, copyOnce);
    const note = `${median(ours).toFixed(0)} of ${median(theirs).toFixed(0)} MB/s`;
    return { finalize: ratioOf(ours, theirs, note) };
  },
};

function rangeOf(shard: number): ShardRange {
  const firstLine = shard * LINES_A_SHARD + 1;
  return { shard, start: firstLine, end: firstLine + 1, firstLine, lines: LINES_A_SHARD, runnable: LINES_A_SHARD };
}

async function writeShard({ files }: Steps, range: ShardRange): Promise<Shard> {
  const lines = Array.from({ length: range.lines }, (_, index) => ({
    line: range.firstLine + index,
    // Scattered, and the same in each run.
    comes: index + ((index * 7_919) % OVERTAKEN_BY),
  })).sort((a, b) => a.comes - b.comes);
  const each = range.lines / SEGMENTS_A_SHARD;
  const segments: SegmentRef[] = [];
  for (let number = 0; number < SEGMENTS_A_SHARD; number++) {
    const entries = lines.slice(number * each, (number + 1) * each).map(({ line }) => resultOf(line));
    const numbers = entries.map(({ line }) => line);
    const key = `inputs/bench-segments/${range.shard}-${number}.seg`;
    const bytes = encodeSegment(entries);
    await files.put(key, bytes);
    segments.push({ key, bytes: bytes.length, first: Math.min(...numbers), last: Math.max(...numbers) });
  }
  return { range, segments };
}

const ANSWER = 'It boils in four minutes and pours without a drip, and it keeps its water warm. '.repeat(30);

function resultOf(line: number): SegmentEntry {
  const json = (text: string) =>
    `{"id":"batch_01J00000000000000000000000_request-${line}","custom_id":"request-${line}",` +
    `"response":{"status_code":200,"body":{"success":true,"data":"${text}","message_id":"msg-${line}"}}}`;
  return segmentEntry(line, 'o', json(ANSWER.slice(0, RESULT_BYTES - json('').length)));
}

/** A batch all of whose shards are done, with the given segments. */
async function createGathered(steps: Steps, shards: readonly Shard[]): Promise<BatchHead> {
  const lines = SHARDS * LINES_A_SHARD;
  const plan: Plan = {
    key: PLAN_KEY,
    ...{ shards: SHARDS, lines, runnable: lines, models: ['default'] },
    input: { bytes: lines, sha256: '0'.repeat(64) },
  };
  const batch = await steps.createBatch({
    status: 'in_progress',
    input: { key: objectKeys.input({ projectId: 'bench', batchId: 'bench' }, 1), etag: '"1"', bytes: lines },
    requestCounts: { total: lines, completed: 0, failed: 0 },
    plan,
  });
  await eachOf(shards, async ({ range, segments }) => {
    const claimed = await steps.shards.claim(batch.batchId, range);
    if (claimed === 'sealed') throw new Error('A new shard is sealed');
    const done = initialBitmap(range).fill(0xff);
    const completed = range.lines / segments.length;
    for (const [index, segment] of segments.entries()) {
      await steps.shards.commit(batch.batchId, {
        ...{ shard: range.shard, epoch: claimed.epoch, commits: claimed.commits + index, segment },
        // As a worker's last commit leaves it; the ones before do not matter here.
        ...{ done, completed, failed: 0, usage: { inputTokens: 100, outputTokens: 100 }, attempts: {} },
      });
    }
  });
  return batch;
}

/** A few at a time, answers in order. */
async function eachOf<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  const rest = all.entries();
  const workOneByOne = async () => {
    for (const [index, one] of rest) answers[index] = await work(one);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, workOneByOne));
  return answers;
}
