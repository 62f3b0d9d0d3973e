import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBatchClient } from '../support/batchClient.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { chatAnswer, type ModelReply, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';

/** Twice what the worker needs with nothing in hand: little, so that it runs out of it soon. */
const WORKER_MB = 48;
/** Under 10 MB of text, over three million arrays: more than the worker's memory once it is read. */
const HEAVY = `${chatAnswer('heavy').slice(0, -1)},"details":[${'[],'.repeat(3_200_000)}[]]}`;

/** What the model does is the prompt's first word. `later`: it is up to be asked again after so many seconds. */
function scripted(prompt: string, attempt: number): ModelReply {
  const [, seconds] = /^later (\d+)/.exec(prompt) ?? [];
  if (seconds && attempt === 1) return { status: 429, body: '{}', headers: { 'retry-after': seconds } };
  if (prompt.startsWith('heavy')) return { status: 200, body: HEAVY };
  if (prompt.startsWith('dribble')) return { status: 200, body: dribbled() };
  if (prompt.startsWith('flood')) return { status: 200, body: flooded() };
  return { status: 200, body: chatAnswer(`echo ${prompt}`) };
}

async function* dribbled(): AsyncGenerator<string> {
  yield '{"choices":[';
  for (;;) {
    await pause(20);
    yield ' ';
  }
}

async function* flooded(): AsyncGenerator<string> {
  yield '{"choices":["';
  for (;;) yield 'x'.repeat(65_536);
}

let run: TestRun;
let model: Awaited<ReturnType<typeof startModelServer>>;
let receiver: Awaited<ReturnType<typeof startTestReceiver>>;
let client: ReturnType<typeof createBatchClient>;

beforeAll(async () => {
  model = await startModelServer((request) => scripted(promptOf(request), request.attempt));
  receiver = await startTestReceiver();
  run = await startTestRun({
    modelsFile: writeModels({
      providers: { scripted: { kind: 'openai', base_url: model.baseUrl, api_key: false } },
      models: { default: { provider: 'scripted', model: 'm', endpoints: ['chat/completions'] } },
      agents: { '*': { model: 'default' } },
    }),
    functions: { FunctionsWorkflowRunShard: { memoryMb: WORKER_MB } },
    settings: {
      ...TEST_SETTINGS,
      worker: { ...TEST_SETTINGS.worker, callTimeoutSeconds: 3, maxAttempts: 2 },
      shards: { minLines: 6, maxWorkers: 4 },
    },
  });
  client = createBatchClient(run.url, run.apiKey);
});

afterAll(async () => {
  await run?.close();
  await model?.close();
  await receiver?.close();
});

/** Runs a batch of these prompts; answers its end and both files, parsed. */
async function runPrompts(prompts: string[]) {
  const lines = prompts.map((input) =>
    JSON.stringify({ custom_id: input, method: 'POST', url: '/agents/a/invoke', body: { input } }),
  );
  const { id } = await client.create({
    type: 'COMPLETIONS',
    input_file_url: await client.upload(lines.join('\n')),
    callback_url: receiver.url,
  });
  const batch = await client.untilEnded(id);
  return { batch, ...(await client.results(id)) };
}
type Ran = Awaited<ReturnType<typeof runPrompts>>;

/** Those lines failed so, and every other one succeeded, each in its file and in order. */
function expectOnlyFailed({ batch, output, errors }: Ran, prompts: string[], failed: Record<string, string>) {
  expect(batch).toMatchObject({
    status: 'completed',
    request_counts: { total: prompts.length, failed: Object.keys(failed).length },
  });
  expect(errors.map(({ custom_id, error }) => [custom_id, error?.code])).toEqual(
    prompts.flatMap((prompt) => (failed[prompt] === undefined ? [] : [[prompt, failed[prompt]]])),
  );
  expect(output.map(({ custom_id, response }) => [custom_id, response?.body.data])).toEqual(
    prompts.flatMap((prompt) => (failed[prompt] === undefined ? [[prompt, `echo ${prompt}`]] : [])),
  );
}

const plain = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}`);

/** What the functions and their host wrote. */
function readLogs(): string {
  const dir = join(run.dataDir, 'logs');
  return readdirSync(dir)
    .map((name) => readFileSync(join(dir, name), 'utf8'))
    .join('');
}

describe('a line whose answer is more than its worker can hold', () => {
  test('ends alone as processing_failed: two in one shard, one in another, which is the last line and alone', async () => {
    // Shards of six, six and one.
    const prompts = ['line 1', 'heavy 2', ...plain(3, 4), 'heavy 5', ...plain(6, 12), 'heavy 13'];
    const ran = await runPrompts(prompts);
    expectOnlyFailed(ran, prompts, {
      'heavy 2': 'processing_failed',
      'heavy 5': 'processing_failed',
      'heavy 13': 'processing_failed',
    });
    for (const { response, attempts } of ran.errors) {
      expect(response).toBeNull();
      expect(attempts).toBe(3);
    }
    // Each was asked for by five workers, and all of them died of it.
    const asked = (prompt: string) => model.requests.filter((request) => promptOf(request) === prompt).length;
    expect(asked('heavy 13')).toBe(5);
    expect(asked('line 7')).toBe(1);
    expect(readLogs()).toContain('heap out of memory');
    // Fifteen workers that each start, run out of memory and are waited for: half a minute on two idle processors.
  }, 300_000);
});

describe('a line whose answer never ends', () => {
  test('ends as model_timeout or response_too_large, and its neighbours succeed', async () => {
    // The neighbours in its shard that are served after each of its two attempts: without them the model may be down.
    const later = ['later 5', 'later 10', 'later 15'];
    const prompts = [...later, 'dribble 4', 'line 5', 'flood 6', ...plain(7, 10)];
    expectOnlyFailed(await runPrompts(prompts), prompts, {
      'dribble 4': 'model_timeout',
      'flood 6': 'response_too_large',
    });
  });
});
