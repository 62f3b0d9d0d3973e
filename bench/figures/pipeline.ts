import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { readStage } from '../../infra/config.ts';
import { startLocalRun } from '../../local/runtime.ts';
import { apiOf, type BenchApi } from '../benchApi.ts';
import { alternately, type Bench, type FigureGroup, median, type Reading, ratioOf, readingOf } from '../measured.ts';
import type { BareLoopAnswer, BareLoopQuestion } from '../processes/bareLoop.ts';
import { startBenchProcess } from '../processes/benchProcess.ts';
import type { UpstreamAnswer, UpstreamQuestion } from '../processes/upstream.ts';
import { requestLines } from '../requestLines.ts';

const LINES = 50_000;
/** Sandboxes and connections are there after the first; V8 is through with compiling what all of them do after some more. */
const WARM_UPS = 3;
/** What ends in two seconds hangs more on what else the machine does: more of them are cheap. */
const INSTANT_REPEATS = 9;
const LINE_BYTES = 1_000;
const DELAY_MS = 50;
/** One a core, as on Lambda; calls in flight of all workers together. */
const WORKERS = 2;
const IN_FLIGHT = 256;
/** Of the batch whose first call is waited for. */
const FEW_LINES = 20;
/** A batch of few lines takes a second: more of them are cheap. */
const FIRST_CALLS_A_REPEAT = 2;

/**
 * The whole product on this machine against a model that costs nothing. The settings are those of production, but for
 * as many workers as the machine has cores, and for a window that is open from the start: the bare loop's is, too.
 */
export const pipeline: FigureGroup = {
  ids: ['pipeline_instant', 'pipeline_50ms', 'first_call_s'],
  async measure(bench) {
    await using stack = new AsyncDisposableStack();
    const dir = mkdtempSync(join(tmpdir(), 'batch-api-bench-'));
    stack.defer(() => rmSync(dir, { recursive: true }));
    const upstream = await startBenchProcess<UpstreamQuestion, UpstreamAnswer>(
      new URL('../processes/upstream.ts', import.meta.url),
      { args: [String(DELAY_MS)] },
    );
    stack.defer(() => upstream.close());
    const modelUrl = `http://127.0.0.1:${await upstream.ask('port')}`;
    const bareLoop = await startBenchProcess<BareLoopQuestion, BareLoopAnswer>(
      new URL('../processes/bareLoop.ts', import.meta.url),
    );
    stack.defer(() => bareLoop.close());

    bench.say('pipeline: starting the whole product');
    const modelsFile = join(dir, 'models.json');
    writeFileSync(modelsFile, JSON.stringify(modelsAt(modelUrl)));
    const { settings } = readStage('prod', {
      allowPrivateNetworks: true,
      shards: { maxWorkers: WORKERS },
      worker: { inFlightStart: IN_FLIGHT / WORKERS, inFlightMax: IN_FLIGHT / WORKERS },
      logLevel: 'WARN',
    });
    const run = await startLocalRun({ dataDir: join(dir, 'run'), port: 0, modelsFile, settings });
    stack.defer(() => run.close());
    const api = apiOf(run);

    const uploadLines = (lines: number, model: Model): Promise<string> =>
      api.upload(naming([...requestLines({ lines, lineBytes: LINE_BYTES })], model));

    const ratioAgainstLoop = async (model: Model): Promise<Reading> => {
      const url = `${modelUrl}/${model}/v1/chat/completions`;
      const loop = (lines: number) => bareLoop.ask({ url, lines, lineBytes: LINE_BYTES, inFlight: IN_FLIGHT });
      bench.say(`pipeline_${model === 'delayed' ? '50ms' : model}: warming up`);
      const inputFileUrl = await uploadLines(LINES, model);
      for (let turn = 0; turn < WARM_UPS; turn++) {
        await runBatch(api, inputFileUrl);
        await loop(LINES);
      }
      const runs: BatchTimes[] = [];
      const ours = async () => {
        const times = await runBatch(api, inputFileUrl);
        runs.push(times);
        return LINES / times.seconds;
      };
      const theirs = async () => LINES / (await loop(LINES)).seconds;
      const measured = await alternately(
        model === 'instant' ? Math.max(INSTANT_REPEATS, bench.repeats) : bench.repeats,
        told(bench, 'lines/s', ours),
        told(bench, 'requests/s', theirs),
      );
      const [lineRate, callRate] = [median(measured.ours), median(measured.theirs)];
      const inParts = (['untilRunning', 'running', 'gathering'] as const).map((part) =>
        median(runs.map((times) => times[part])).toFixed(1),
      );
      const note =
        `${lineRate.toFixed(0)} lines/s of ${callRate.toFixed(0)} requests/s; ` +
        `until it runs, running, gathering: ${inParts.join(' + ')} s`;
      return ratioOf(measured.ours, measured.theirs, note);
    };

    const measureFirstCall = async (): Promise<Reading> => {
      bench.say('first_call_s');
      const inputFileUrl = await uploadLines(FEW_LINES, 'instant');
      const once = async () => {
        await upstream.ask('forget');
        const { submittedMs } = await runBatch(api, inputFileUrl);
        return ((await upstream.ask('first call')) - submittedMs) / 1_000;
      };
      await once();
      const seconds: number[] = [];
      for (let turn = 0; turn < FIRST_CALLS_A_REPEAT * bench.repeats; turn++) seconds.push(await once());
      return readingOf(seconds);
    };

    return {
      ...(bench.wants('pipeline_instant') ? { pipeline_instant: await ratioAgainstLoop('instant') } : {}),
      ...(bench.wants('pipeline_50ms') ? { pipeline_50ms: await ratioAgainstLoop('delayed') } : {}),
      ...(bench.wants('first_call_s') ? { first_call_s: await measureFirstCall() } : {}),
    };
  },
};

type Model = 'instant' | 'delayed';

function modelsAt(url: string) {
  const provider = (model: Model) => ({ kind: 'openai', base_url: `${url}/${model}/v1`, api_key: false });
  const model = (provider: Model) => ({ provider, model: 'bench-model', endpoints: ['chat/completions'] });
  return {
    providers: { instant: provider('instant'), delayed: provider('delayed') },
    models: { instant: model('instant'), delayed: model('delayed') },
  };
}

/** The lines call the model `default`, whose name is as long as theirs. */
function naming(pieces: Buffer[], model: Model): Buffer {
  const text = Buffer.concat(pieces).toString();
  return Buffer.from(text.replaceAll('"model":"default"', `"model":"${model}"`));
}

function told(bench: Bench, unit: string, measure: () => Promise<number>): () => Promise<number> {
  return async () => {
    const value = await measure();
    bench.say(`  ${value.toFixed(0)} ${unit}`);
    return value;
  };
}

/**
 * Each look takes 10 ms of the cores that the batch runs on, so that the first comes when most have ended; when it was
 * completed is told by its record.
 */
const LOOK_EVERY_MS = 2_500;

type BatchTimes = { submittedMs: number; seconds: number; untilRunning: number; running: number; gathering: number };

/** From the request that creates it to the time that the record names as its completion; returns once all is over. */
async function runBatch(api: BenchApi, inputFileUrl: string): Promise<BatchTimes> {
  const submittedMs = Date.now();
  const id = await api.create(inputFileUrl);
  for (;;) {
    await pause(LOOK_EVERY_MS);
    const { status, in_progress_at, finalizing_at, completed_at, delivered_at, request_counts } = await api.get(id);
    if (['failed', 'expired', 'cancelled'].includes(status)) throw new Error(`The batch is ${status}`);
    if (completed_at !== null && request_counts.failed > 0) throw new Error(`${request_counts.failed} lines failed`);
    if (in_progress_at !== null && finalizing_at !== null && completed_at !== null && delivered_at !== null) {
      const [started, gathered, ended] = [in_progress_at, finalizing_at, completed_at].map(
        (time) => (Date.parse(time) - submittedMs) / 1_000,
      ) as [number, number, number]; // as many as there are times
      const parts = { untilRunning: started, running: gathered - started, gathering: ended - gathered };
      return { submittedMs, seconds: ended, ...parts };
    }
  }
}
