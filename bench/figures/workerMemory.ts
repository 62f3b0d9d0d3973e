import type { BatchHead } from '../../shared/domain/batch.ts';
import type { ShardRange } from '../../shared/domain/shard.ts';
import { startStepProcesses } from '../../test/support/stepProcess.ts';
import { alternately, type Bench, type FigureGroup, ratioOf, readingOf } from '../measured.ts';
import { startBenchProcess } from '../processes/benchProcess.ts';
import type { UpstreamAnswer, UpstreamQuestion } from '../processes/upstream.ts';
import { requestLines } from '../requestLines.ts';

/** With the most lines that a file may have, 5 GB of them. */
const LINE_BYTES = 5_000;
const LARGE_LINES = 1_000_000;
const SMALL_LINES = 10_000;
const LINES_A_SHARD = 2_000;
/** What one worker process runs: as many shards of either input, so that nothing but the input's size differs. */
const SHARDS_A_WORKER = 10;

const MIB = 1024 * 1024;
const MB = 1e6;
const UPLOAD_PART_BYTES = 64 * MIB;

type Steps = Awaited<ReturnType<typeof startStepProcesses>>;

/**
 * The deployed worker in a process of its own, with the heap that Lambda gives it: what the kernel says that it had at
 * most. A worker reads its shards' bytes only, so a worker of a 5 GB batch is one that runs shards of a 5 GB file: spread
 * from its beginning to its end.
 */
export const workerMemory: FigureGroup = {
  ids: ['worker_memory_growth', 'worker_memory_mb'],
  async measure(bench) {
    await using stack = new AsyncDisposableStack();
    const upstream = await startBenchProcess<UpstreamQuestion, UpstreamAnswer>(
      new URL('../processes/upstream.ts', import.meta.url),
    );
    stack.defer(() => upstream.close());
    const steps = await startStepProcesses({
      providers: {
        bench: {
          kind: 'openai',
          base_url: `http://127.0.0.1:${await upstream.ask('port')}/instant/v1`,
          api_key: false,
        },
      },
      models: { default: { provider: 'bench', model: 'bench-model', endpoints: ['chat/completions'] } },
    });
    stack.defer(() => steps.close());

    const small = await uploadInput(steps, SMALL_LINES);
    bench.say('worker_memory: writing 5 GB');
    const large = await uploadInput(steps, LARGE_LINES);
    const { ours, theirs } = await alternately(
      bench.repeats,
      () => peakOf(bench, steps, large),
      () => peakOf(bench, steps, small),
    );
    const note = `${SHARDS_A_WORKER} shards of ${LINES_A_SHARD} lines of 5 KB each time`;
    return { worker_memory_growth: ratioOf(ours, theirs, note), worker_memory_mb: readingOf(ours) };
  },
};

type Input = { key: string; etag: string; bytes: number; lines: number };

async function uploadInput({ files }: Steps, lines: number): Promise<Input> {
  const key = `inputs/bench-${lines}.jsonl`;
  const upload = await files.upload(key, { partBytes: UPLOAD_PART_BYTES });
  for (const piece of requestLines({ lines, lineBytes: LINE_BYTES })) await upload.write(piece);
  return { key, lines, ...(await upload.complete()) };
}

async function peakOf(bench: Bench, steps: Steps, input: Input): Promise<number> {
  const worker = await steps.startStep('runShard');
  const all = input.lines / LINES_A_SHARD;
  let batch: BatchHead | undefined;
  for (let turn = 0; turn < SHARDS_A_WORKER; turn++) {
    // A small input is run again and again, each time by a batch of its own.
    if (!batch || turn % all === 0) batch = await createRunning(steps, input);
    const shard = rangeOf(Math.floor((turn * Math.max(all - 1, 1)) / Math.max(1, SHARDS_A_WORKER - 1)) % all);
    const { next } = await worker.invoke({ ...steps.run(batch), shard, turn: 0 });
    if (next !== 'end') throw new Error(`The worker answered ${next}`);
  }
  await worker.close();
  const peakMb = (worker.peakResidentMib * MIB) / MB;
  bench.say(`  ${peakMb.toFixed(0)} MB at an input of ${(input.bytes / MB).toFixed(0)} MB`);
  return peakMb;
}

/** All lines are of one length, so that nobody has to read them to cut shards. */
function rangeOf(shard: number): ShardRange {
  const start = shard * LINES_A_SHARD * LINE_BYTES;
  const end = start + LINES_A_SHARD * LINE_BYTES - 1;
  const firstLine = shard * LINES_A_SHARD + 1;
  return { shard, start, end, firstLine, lines: LINES_A_SHARD, runnable: LINES_A_SHARD };
}

function createRunning(steps: Steps, { key, etag, bytes, lines }: Input): Promise<BatchHead> {
  return steps.createBatch({
    status: 'in_progress',
    input: { key, etag, bytes },
    requestCounts: { total: lines, completed: 0, failed: 0 },
    plan: {
      key: 'shards/not-read',
      ...{ shards: lines / LINES_A_SHARD, lines, runnable: lines, models: ['default'] },
      input: { bytes, sha256: '0'.repeat(64) },
    },
  });
}
