import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBatchClient, type ResultLine } from '../support/batchClient.ts';
import { type LocalProcess, startLocalProcess } from '../support/localProcess.ts';
import { makeDataDir } from '../support/localRun.ts';
import { chatAnswer, type ModelRequest, promptOf, startModelServer } from '../support/modelServer.ts';
import { startNotificationReceiver } from '../support/notificationReceiver.ts';
import { seededRandom } from '../support/random.ts';

/** Moments within a phase are drawn from it. */
const SEED = 20_260_115;
const random = seededRandom(SEED);

let dataDir = '';
let secret = '';
let running: LocalProcess | undefined;

/** Told of each model call and notification: what the kills wait for. */
let calls = 0;
let onCall = () => {};
let onPost: (() => Promise<void>) | undefined;

const model = await startModelServer((request) => {
  calls++;
  onCall();
  return answer(request);
});
const receiver = await startNotificationReceiver({
  secret: () => secret,
  async reply() {
    await onPost?.();
    return 204;
  },
});
/** Serves the half of the input that is asked for first, and the rest when it is let. */
const source = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/gzip', 'content-length': String(packed.length) });
  response.write(packed.subarray(0, packed.length / 2));
  onHalfServed();
  void restServed.then(() => response.end(packed.subarray(packed.length / 2)));
});
let onHalfServed = () => {};
let serveRest = () => {};
const restServed = new Promise<void>((resolve) => {
  serveRest = resolve;
});

beforeAll(async () => {
  dataDir = await makeDataDir();
  source.listen(0, '127.0.0.1');
  await once(source, 'listening');
});
afterAll(async () => {
  await running?.kill();
  source.closeAllConnections();
  source.close();
  await model.close();
  await receiver.close();
});

function launch(): LocalProcess {
  const models = ['--model-url', model.baseUrl, '--model', 'text', '--embedding-model', 'vectors'];
  running = startLocalProcess('local/main.ts', ['--json', '--port', '0', '--data', dataDir, ...models]);
  return running;
}

async function start() {
  const system = launch();
  const { url, api_key, webhook_secret } = await system.ready;
  secret = webhook_secret;
  return { system, client: createBatchClient(url, api_key) };
}

/** Resolves at the `count`-th call of a model from now on. */
function modelCalls(count: number): Promise<void> {
  const at = calls + count;
  return new Promise((resolve) => {
    onCall = () => {
      if (calls >= at) resolve();
    };
  });
}

/* What is asked, and what is to come of it: the prompt says it. */

type Asked = { customId: string; fate: 'output' | 'model_error' | 'invalid_json_line'; text: string };

function agentLines(name: string, count: number, fateOf: (n: number) => Asked['fate'] = () => 'output'): Asked[] {
  return Array.from({ length: count }, (_, n) => {
    const customId = `${name}-${n}`;
    const fate = fateOf(n);
    const line = {
      custom_id: customId,
      method: 'POST',
      url: '/agents/a/invoke',
      body: { input: `${customId} ${fate}` },
    };
    return { customId, fate, text: fate === 'invalid_json_line' ? '{"custom_id":' : JSON.stringify(line) };
  });
}

const long = agentLines('long', 600);
const one = agentLines('one', 1);
const wide = agentLines('wide', 200);
const last = agentLines('last', 120);
const faulty = agentLines('faulty', 150, (n) =>
  n % 10 === 3 ? 'invalid_json_line' : n % 7 === 0 ? 'model_error' : 'output',
);
const vectors: Asked[] = Array.from({ length: 200 }, (_, n) => {
  const customId = `vectors-${n}`;
  const body = { vectors: [{ id: `v${n}`, values: [], metadata: { text: customId } }] };
  return {
    customId,
    fate: 'output',
    text: JSON.stringify({ custom_id: customId, method: 'POST', url: '/vectors', body }),
  };
});
const jsonl = (lines: Asked[]) => `${lines.map(({ text }) => text).join('\n')}\n`;
const packed = gzipSync(jsonl(vectors));

function answer(request: ModelRequest) {
  const afterMs = random.int(5, 40);
  if (request.path.endsWith('/embeddings')) {
    const [text = ''] = request.body.input as string[];
    const data = [{ object: 'embedding', index: 0, embedding: [Number(text.split('-')[1]), 0.5] }];
    return { status: 200, body: JSON.stringify({ object: 'list', data, model: 'vectors' }), afterMs };
  }
  const [customId = '', fate] = promptOf(request).split(' ');
  if (fate === 'model_error') return { status: 400, body: '{"error":{"message":"no"}}', afterMs };
  // The first try of every fifth line fails in a way that passes.
  if (request.attempt === 1 && customId.endsWith('5')) return { status: 500, body: '{}', afterMs };
  return { status: 200, body: chatAnswer(`echo ${customId}`), afterMs };
}

function check(id: string, asked: Asked[], { output, errors }: { output: ResultLine[]; errors: ResultLine[] }): void {
  const good = asked.filter(({ fate }) => fate === 'output');
  const bad = asked.flatMap(({ customId, fate }, index) =>
    fate === 'output' ? [] : [{ customId, fate, line: index + 1 }],
  );
  expect(output.map((line) => line.custom_id)).toEqual(good.map(({ customId }) => customId));
  expect(output.map((line) => line.id)).toEqual(good.map(({ customId }) => `${id}_${customId}`));
  for (const { custom_id, response } of output) {
    const told = JSON.stringify(response?.body);
    const [name, n] = String(custom_id).split('-');
    expect(told).toContain(name === 'vectors' ? `"values":[${n},0.5]` : `"data":"echo ${custom_id}"`);
  }
  expect(errors.map(({ line, error }) => [line, error?.code])).toEqual(bad.map(({ line, fate }) => [line, fate]));
}

test('whatever moment it is killed at, every accepted batch ends as it should, and is told of once', async () => {
  const batches = new Map<string, Asked[]>();
  const ask = async (client: ReturnType<typeof createBatchClient>, lines: Asked[], input_file_url?: string) => {
    const { id } = await client.create({
      type: lines === vectors ? 'EMBEDDINGS' : 'COMPLETIONS',
      input_file_url: input_file_url ?? (await client.upload(jsonl(lines))),
      callback_url: receiver.url,
      on_invalid_line: 'skip',
    });
    batches.set(id, lines);
    return id;
  };

  // Right after a 201, with another request on its way: whether that one was taken is for its repeat to find out.
  let { system, client } = await start();
  const input_file_url = await client.upload(jsonl(one));
  const oneBody = { name: 'one', type: 'COMPLETIONS', input_file_url, callback_url: receiver.url };
  const sameKey = { 'idempotency-key': 'one' };
  const onTheWay = client.call('POST', '/batches', oneBody, sameKey).catch(() => undefined);
  await ask(client, long);
  await system.kill();
  await onTheWay;

  // While validating: half of the input is read.
  ({ system, client } = await start());
  const again = await client.call('POST', '/batches', oneBody, sameKey);
  expect([200, 201]).toContain(again.status);
  batches.set(String(again.body.id), one);
  const halfServed = new Promise<void>((resolve) => {
    onHalfServed = resolve;
  });
  const { port } = source.address() as AddressInfo;
  await ask(client, vectors, `http://127.0.0.1:${port}/vectors.jsonl.gz`);
  await halfServed;
  await system.kill();
  serveRest();

  // While it starts.
  const starting = launch();
  await starting.saw('Starting the services');
  await starting.kill();

  // In the map, some calls in.
  ({ system, client } = await start());
  let reached = modelCalls(random.int(40, 200));
  await ask(client, faulty);
  await ask(client, wide);
  await reached;
  await system.kill();

  // While one is gathered, or as it ends: others are in the map then, or wait to be taken up.
  ({ system, client } = await start());
  const lastId = await ask(client, last);
  await client.until(lastId, ({ status }) => status !== 'validating' && status !== 'in_progress');
  await system.kill();

  // While a receiver has a notification and has not answered.
  const posted = new Promise<void>((resolve) => {
    onPost = async () => {
      onPost = undefined;
      resolve();
      await system.kill();
    };
  });
  ({ system, client } = await start());
  await posted;
  await system.kill();

  // In the map again, of batches that go on.
  ({ system, client } = await start());
  reached = modelCalls(random.int(5, 150));
  await Promise.race([reached, Promise.all([...batches.keys()].map((id) => client.untilEnded(id)))]);
  await system.kill();

  ({ system, client } = await start());
  for (const [id, lines] of batches) {
    const failed = lines.filter(({ fate }) => fate !== 'output').length;
    const counts = { total: lines.length, completed: lines.length - failed, failed };
    expect(await client.untilEnded(id)).toMatchObject({ status: 'completed', request_counts: counts });
    check(id, lines, await client.results(id));
    const told = await client.until(id, ({ delivered_at }) => delivered_at !== null);
    expect(told).toMatchObject({ has_output_file: true, has_errors_file: failed > 0 });
    const posts = receiver.posts(id);
    expect([...new Set(posts.map(({ webhookId }) => webhookId))]).toHaveLength(1);
    expect([...new Set(posts.map(({ body }) => body))]).toHaveLength(1);
    expect(posts.every(({ event, signatureHolds }) => event === 'batch.completed' && signatureHolds)).toBe(true);
  }
  const { body } = await client.call('GET', '/batches');
  expect((body.batches as { id: string }[]).map(({ id }) => id).sort()).toEqual([...batches.keys()].sort());
  expect(await system.stop()).toBe(0);
}, 600_000);
