import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { functions } from '../../shared/contract/functions.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { type ModelReply, type ModelRequest, startModelServer } from '../support/modelServer.ts';
import { flood, startRawServer } from '../support/rawServer.ts';
import { startStepProcesses } from '../support/stepProcess.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/**
 * Memory as the operating system sees it: every step runs alone in a process, from the bundle that is deployed, and its
 * peak of resident memory is read.
 */
const MIB = 1024 * 1024;
const MB = 1_000_000;

/** The most that Lambda gives the function: beyond it the sandbox is killed. */
const limitMib = {
  fetchInput: functions['workflow/fetchInput'].memoryMb,
  validateInput: functions['workflow/validateInput'].memoryMb,
  runShard: functions['workflow/runShard'].memoryMb,
  finalizeBatch: functions['workflow/finalizeBatch'].memoryMb,
};

const LINES_A_SHARD = 40;
const DIMENSIONS = 256;
const EMBEDDING = `[${Array.from({ length: DIMENSIONS }, (_, at) => ((at * 7_919) % 1_999) / 1_999 - 0.5).join()}]`;

/** A vector for each input, without the work of making one; or a short answer. */
function reply({ body }: ModelRequest): ModelReply {
  if (!Array.isArray(body.input))
    return { status: 200, body: '{"choices":[{"message":{"role":"assistant","content":"read"}}]}' };
  const data = body.input.map((_, index) => `{"object":"embedding","index":${index},"embedding":${EMBEDDING}}`);
  return { status: 200, body: `{"object":"list","data":[${data.join()}]}` };
}

/** Lines are made while they are sent: nothing of this size lies in this process either. */
type Source = { count: number; line(at: number): string; gzip?: boolean };
function* chunksOf({ count, line }: Source): Generator<string> {
  let chunk = '';
  for (let at = 0; at < count; at++) {
    chunk += `${line(at)}\n`;
    if (chunk.length < MIB) continue;
    yield chunk;
    chunk = '';
  }
  yield chunk;
}

const FILLER = 'The quick brown fox jumps over the lazy dog. '.repeat(250_000);
const agentLine = (at: number, bytes: number) =>
  `{"custom_id":"request-${at}","method":"POST","url":"/agents/a/invoke","body":{"input":"${FILLER.slice(0, bytes - 100)}"}}`;
const badLine = (at: number) =>
  `{"custom_id":"request-${at}","method":"POST","url":"/agents/a/invoke","body":{"prompt":"${at}"}}`;
function vectorsLine(at: number, texts: number): string {
  const vectors = Array.from({ length: texts }, (_, of) => ({
    id: `v${of}`,
    values: [],
    metadata: { text: FILLER.slice(0, 240) },
  }));
  return JSON.stringify({ custom_id: `request-${at}`, method: 'POST', url: '/vectors', body: { vectors } });
}

const modelsAt = (baseUrl: string) => ({
  providers: { p: { kind: 'openai', base_url: baseUrl, api_key: false } },
  models: { default: { provider: 'p', model: 'm', endpoints: ['chat/completions', 'embeddings'] } },
  agents: { '*': { model: 'default' } },
  vectors: { model: 'default' },
});

let steps: Awaited<ReturnType<typeof startStepProcesses>>;
let model: Awaited<ReturnType<typeof startModelServer>>;
let web: WebServer;
const sources: Source[] = [];

beforeAll(async () => {
  model = await startModelServer(reply);
  web = await startWebServer(async (request, response) => {
    const source = sources[Number(request.url?.slice(1))];
    if (!source) return response.writeHead(404).end();
    const lines = Readable.from(chunksOf(source), { objectMode: false });
    return source.gzip ? pipeline(lines, createGzip({ level: 1 }), response) : pipeline(lines, response);
  });
  steps = await startStepProcesses(
    modelsAt(model.baseUrl),
    // One worker, whose process lives on from shard to shard as a sandbox does.
    { shards: { maxWorkers: 1, maxLines: LINES_A_SHARD } },
  );
});
afterAll(async () => {
  await steps?.close();
  await web?.close();
  await model?.close();
});

const createBatch = (source: Source, fields: Partial<BatchHead> = {}) =>
  steps.createBatch({ inputFileUrl: `${web.url}/${sources.push(source) - 1}`, ...fields });

/** Runs a step that takes one invocation, and answers its process's peak. */
async function peakOf(name: 'fetchInput' | 'validateInput' | 'finalizeBatch', batch: BatchHead, next: string) {
  const step = await steps.startStep(name);
  expect((await step.invoke(steps.run(batch))).next).toBe(next);
  await step.close();
  expect(step.peakResidentMib, name).toBeLessThan(limitMib[name]);
  return step.peakResidentMib;
}

/** All shards of the batch, one after another in one process: its peak after each of them. */
async function peaksOfWorker(batch: BatchHead): Promise<number[]> {
  const worker = await steps.startStep('runShard');
  const peaks: number[] = [];
  for await (const shard of steps.shardsOf(batch)) {
    expect((await worker.invoke({ ...steps.run(batch), shard, turn: 0 })).next).toBe('end');
    peaks.push(worker.peakResidentMib);
  }
  await worker.close();
  expect(worker.peakResidentMib, 'runShard').toBeLessThan(limitMib.runShard);
  return peaks;
}

/** The whole way of a batch; what the steps' processes had at most. */
async function runAll(batch: BatchHead) {
  await peakOf('fetchInput', batch, 'validate');
  await peakOf('validateInput', batch, 'plan');
  const runShard = await peaksOfWorker(batch);
  const finalizeBatch = await peakOf('finalizeBatch', batch, 'end');
  const head = await steps.head(batch);
  expect(head.status).toBe('completed');
  expect(head.requestCounts).toEqual({ total: head.plan?.lines, completed: head.plan?.lines, failed: 0 });
  return { inputMb: mb(head.input), outputMb: mb(head.outputFile), runShard, finalizeBatch };
}

const mb = (file: { bytes: number } | undefined) => (file?.bytes ?? 0) / MB;

/** Data that was held would show as a whole (seen with such a fault planted); the collector's timing moves a peak by some 30 MiB. */
function expectFlat(what: string, less: number, more: number, moreMb: number): void {
  const message = `${what}: ${Math.round(less)} MiB, with ${Math.round(moreMb)} MB more ${Math.round(more)} MiB`;
  expect(more - less, message).toBeLessThan(0.75 * moreMb);
}

describe('memory of a step', () => {
  test('Fetch and Validate take ten times the input in the same memory, packed or not', async () => {
    const of = (count: number, gzip = false): Source => ({ count, gzip, line: (at) => agentLine(at, 1_000) });
    const small = await createBatch(of(20_000));
    const large = await createBatch(of(200_000));
    const fetchedSmall = await peakOf('fetchInput', small, 'validate');
    expectFlat('Fetch', fetchedSmall, await peakOf('fetchInput', large, 'validate'), 180);
    expectFlat('gzip', fetchedSmall, await peakOf('fetchInput', await createBatch(of(200_000, true)), 'validate'), 180);
    const validatedSmall = await peakOf('validateInput', small, 'plan');
    expectFlat('Validate', validatedSmall, await peakOf('validateInput', large, 'plan'), 180);
    expect((await steps.head(large)).plan?.lines).toBe(200_000);
  });

  test('Fetch takes a gzip file that unpacks a thousandfold, without end, in the memory of any other', async () => {
    // A kilobyte holds a megabyte: the 64 KiB of a socket's buffer hold 64 of them.
    const bomb = await startRawServer({
      answer: (socket) => flood(socket, 'HTTP/1.1 200 OK\r\n\r\n', gzipSync(Buffer.alloc(MIB, ' \n'))),
    });
    const peakWithin = async (inputBytes: number) => {
      const limited = await startStepProcesses(modelsAt(model.baseUrl), { limits: { inputBytes } });
      const batch = await limited.createBatch({ inputFileUrl: `http://127.0.0.1:${bomb.port}/in.jsonl.gz` });
      const step = await limited.startStep('fetchInput');
      expect((await step.invoke(limited.run(batch))).next).toBe('finalize');
      expect((await limited.head(batch)).outcome).toMatchObject({ kind: 'failed', reason: 'file_too_large' });
      await bomb.deserted();
      await limited.close();
      expect(step.peakResidentMib).toBeLessThan(limitMib.fetchInput);
      return step.peakResidentMib;
    };
    const small = await peakWithin(32 * MIB);
    expectFlat('bomb', small, await peakWithin(232 * MIB), 200);
    // Of some kilobytes of gzip: the rest is what sockets hold by themselves.
    expect(bomb.sentBytes()).toBeLessThan(64 * MIB);
    await bomb.close();
  });

  test('Validate takes 200,000 bad lines', async () => {
    const bad = await createBatch({ count: 200_000, line: badLine });
    await peakOf('fetchInput', bad, 'validate');
    await peakOf('validateInput', bad, 'finalize');
    expect((await steps.head(bad)).plan?.invalid?.lines).toBe(200_000);
  });

  test('worker and Finalize write twenty times the input, and twenty times as much in the same memory', async () => {
    const of = (count: number): Source => ({ count, line: (at) => vectorsLine(at, 60) });
    const small = await runAll(await createBatch(of(LINES_A_SHARD), { type: 'EMBEDDINGS' }));
    const large = await runAll(await createBatch(of(20 * LINES_A_SHARD), { type: 'EMBEDDINGS' }));
    expect(large.outputMb).toBeGreaterThan(15 * large.inputMb);
    expectFlat('Finalize', small.finalizeBatch, large.finalizeBatch, large.outputMb - small.outputMb);
    // Its window opens over some dozens of calls, and the heap finds its size over some shards more: from then on the
    // process is as large as it gets, but for the collector's timing.
    const [, , , , fifth = 0] = large.runShard;
    expectFlat('worker', fifth, large.runShard.at(-1) ?? 0, 0.75 * large.outputMb);
  });

  test('answers of nearly 10 MB, thousands of vectors each, fit a worker that keeps many calls in flight', async () => {
    const batch = await createBatch({ count: 8, line: (at) => vectorsLine(at, 1_800) }, { type: 'EMBEDDINGS' });
    expect((await runAll(batch)).outputMb).toBeGreaterThan(8 * 9);
  });

  test('lines of 10 MB fit every step', async () => {
    const batch = await createBatch({ count: 6, line: (at) => agentLine(at, 10 * MB) });
    expect((await runAll(batch)).inputMb).toBeGreaterThan(59);
  });
});
