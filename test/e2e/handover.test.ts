import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause, setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { outputLine } from '../../shared/domain/lines/resultLine.ts';
import { simulateAnswer } from '../../shared/providers/simulatedAnswers.ts';
import { createBatchClient, type WireBatch } from '../support/batchClient.ts';
import { makeDataDir, startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { startTestReceiver } from '../support/receiver.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** Steps that have minutes for gigabytes get seconds for megabytes: each needs several invocations. */
const OPTIONS = {
  watchRights: true,
  functions: {
    FunctionsWorkflowFetchInput: { timeoutSeconds: 6 },
    FunctionsWorkflowRunShard: { timeoutSeconds: 6 },
    FunctionsWorkflowFinalizeBatch: { timeoutSeconds: 4 },
  },
  settings: {
    ...TEST_SETTINGS,
    // Steps tell how they ended.
    logLevel: 'INFO',
    fetch: { reserveSeconds: 3 },
    // At 5 to 25 ms a call a worker does 600 of its 1,000 lines in the half of its time in which it takes on calls.
    worker: { ...TEST_SETTINGS.worker, inFlightStart: 3, inFlightMax: 3 },
  },
};

/* An input whose answers are 150 times as large as its lines, and known beforehand to the byte. */

const CHOICES = 128;
const request = (name: string, at: number) => ({
  custom_id: `${name}-${at}`,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'default', n: CHOICES, messages: [{ role: 'user', content: `${at} ${'why? '.repeat(60)}` }] },
});
const inputOf = (name: string, count: number) =>
  Array.from({ length: count }, (_, at) => `${JSON.stringify(request(name, at))}\n`).join('');

/** SHA-256 of `output.jsonl` as it has to be. */
async function expectedOutput(batchId: string, name: string, count: number): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < count; at++) {
    // The servers live in this process: kept waiting for seconds they would close connections that are about to be used.
    if (at % 20 === 0) await setImmediate();
    const { custom_id: customId, body } = request(name, at);
    const answer = simulateAnswer(
      'chat/completions',
      { ...body, model: 'simulator-text' },
      { seed: 1, dimensions: 256 },
    );
    hash.update(`${outputLine(batchId, { line: at + 1, customId }, 200, JSON.stringify(answer.body))}\n`);
  }
  return hash.digest('hex');
}

const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** What the log of the functions says of a batch's steps: what each invocation answered as `next`. */
async function answersOf(dataDir: string, batchId: string, step: string): Promise<string[]> {
  const dir = join(dataDir, 'logs');
  const answers: string[] = [];
  const logs = (await readdir(dir)).filter((name) => name.toLowerCase().includes(step.toLowerCase()));
  for (const name of logs) {
    // The last line may be half written.
    for (const text of (await readFile(join(dir, name), 'utf8')).split('\n').slice(0, -1)) {
      if (!text.startsWith('{') || !text.includes(batchId)) continue;
      const entry = JSON.parse(text) as { message: string; next?: string };
      if (entry.message === 'step' && entry.next) answers.push(entry.next);
    }
  }
  return answers;
}

/** Serves a third of what is asked for, and then hardly anything: a byte now and then, as long as anybody listens. */
function dribble(body: Buffer, pieceBytes: number) {
  return (incoming: IncomingMessage, response: ServerResponse) => {
    const start = Number(/^bytes=(\d+)-$/.exec(incoming.headers.range ?? '')?.[1] ?? 0);
    const end = Math.min(body.length, start + pieceBytes);
    const range = { 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` };
    response.writeHead(start > 0 ? 206 : 200, {
      etag: '"whole"',
      'accept-ranges': 'bytes',
      'content-length': body.length - start,
      ...(start > 0 ? range : {}),
    });
    let at = end;
    response.write(body.subarray(start, end));
    const drip = setInterval(() => {
      if (at === body.length) response.end();
      else response.write(body.subarray(at, ++at));
    }, 50);
    response.on('close', () => clearInterval(drip));
  };
}

let dataDir: string;
let run: TestRun;
let web: WebServer;
let receiver: Awaited<ReturnType<typeof startTestReceiver>>;
let client: ReturnType<typeof createBatchClient>;
let dribbled = Buffer.alloc(0);

async function start() {
  run = await startTestRun({ ...OPTIONS, dataDir });
  client = createBatchClient(run.url, run.apiKey);
}
beforeAll(async () => {
  dataDir = await makeDataDir();
  receiver = await startTestReceiver();
  web = await startWebServer((incoming, response) => dribble(dribbled, dribbled.length / 3)(incoming, response));
  await start();
});
afterAll(async () => {
  await run?.close();
  await web?.close();
  await receiver?.close();
});

const create = (input_file_url: string) =>
  client.create({ type: 'COMPLETIONS', input_file_url, callback_url: receiver.url });

/** The files are what the receipt says, and what the input's order asks for, to the byte. */
async function expectWhole(batch: WireBatch, name: string, count: number): Promise<void> {
  expect(batch).toMatchObject({
    status: 'completed',
    errors: [],
    request_counts: { total: count, completed: count, failed: 0 },
  });
  const { body: urls } = await client.call('GET', `/batches/${batch.id}/download`);
  const output = new Uint8Array(await (await fetch(String(urls.output_file_url))).arrayBuffer());
  const expected = { bytes: output.length, sha256: await expectedOutput(batch.id, name, count) };
  expect(sha256(output)).toBe(expected.sha256);
  const input = inputOf(name, count);
  expect((await client.call('GET', `/batches/${batch.id}/receipt`)).body).toMatchObject({
    lines: count,
    input: { bytes: input.length, sha256: sha256(input) },
    output: expected,
    errors: null,
  });
}

/** Runs larger and larger batches until Finalize was too slow for one invocation: how large that is the machine says. */
async function untilHandedOver(step: string, runBatch: (count: number) => Promise<string>): Promise<void> {
  for (let count = 2_000; ; count *= 2) {
    const id = await runBatch(count);
    if ((await answersOf(dataDir, id, step)).length > 1) return;
  }
}

describe('a step that takes longer than one invocation', () => {
  test('goes on in the next: Fetch, the workers and Finalize, and the files are whole', async () => {
    await untilHandedOver('finalizeBatch', async (count) => {
      dribbled = Buffer.from(inputOf('slow', count));
      const { id } = await create(`${web.url}/input.jsonl`);
      const batch = await client.untilEnded(id);
      await expectWhole(batch, 'slow', count);
      const fetched = await answersOf(dataDir, id, 'fetchInput');
      expect(fetched.length).toBeGreaterThan(2);
      expect(fetched).toEqual([...fetched.slice(1).map(() => 'fetch'), 'validate']);
      expect(await answersOf(dataDir, id, 'runShard')).toContain('again');
      // Told just after the batch has ended.
      await expect.poll(() => answersOf(dataDir, id, 'finalizeBatch'), { timeout: 60_000 }).toContain('end');
      const finalized = await answersOf(dataDir, id, 'finalizeBatch');
      expect(finalized).toEqual([...finalized.slice(1).map(() => 'finalize'), 'end']);
      return id;
    });
  });

  test('goes on after everything ended between two invocations', async () => {
    await untilHandedOver('finalizeBatch', async (count) => {
      const { id } = await create(await client.upload(inputOf('cut', count)));
      for (;;) {
        if ((await answersOf(dataDir, id, 'finalizeBatch')).length > 0) break;
        await pause(20);
      }
      // Wherever its next invocation is now.
      await run.close();
      await start();
      await expectWhole(await client.untilEnded(id), 'cut', count);
      return id;
    });
  });
});
