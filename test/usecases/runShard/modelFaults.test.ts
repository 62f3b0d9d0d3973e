import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runShard } from '../../../shared/usecases/runShard.ts';
import { chatAnswer } from '../../support/modelServer.ts';
import {
  aRunningBatch,
  chatLine,
  chatLines,
  committedResults,
  LONG,
  type ShardWorld,
  startShardWorld,
  workerDeps,
} from '../../support/shardWorld.ts';
import { startWebServer } from '../../support/webServer.ts';

let world: ShardWorld;
beforeAll(async () => {
  world = await startShardWorld();
});
afterAll(() => world.close());

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const LINES = 60;
/** The line that meets the fault, and how often. */
const POOR = 'request-5';

type Respond = (response: ServerResponse, attempt: number) => void;

/** Runs a shard through the real provider; `fault` answers the poor line's first `times` calls, the rest are answered. */
async function run(
  fault: Respond,
  { times, callTimeoutSeconds = 300 }: { times: number; callTimeoutSeconds?: number },
) {
  let poorCalls = 0;
  const keys = new Set<string | undefined>();
  const server = await startWebServer(async (request: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as { messages: { content: string }[] };
    const isPoor = body.messages[0]?.content === POOR;
    if (isPoor) {
      poorCalls++;
      keys.add(request.headers['idempotency-key'] as string | undefined);
      if (poorCalls <= times) return fault(response, poorCalls);
    }
    // Each takes a while, so that others are served beside the poor line.
    setTimeout(() => response.setHeader('content-type', 'application/json').end(chatAnswer('fine')), 5);
  });
  closers.push(() => server.close());
  const batch = await aRunningBatch(world, [...chatLines(LINES)]);
  const worker = { inFlightStart: 4, inFlightMax: 4, callTimeoutSeconds };
  const answer = await runShard(workerDeps(world, { baseUrl: server.url, worker }), batch.step(), LONG);
  const { results, records } = await committedResults(world, batch.ref);
  expect(keys.size).toBe(1);
  return { answer, results, record: records[0], poorCalls, poor: results.find(({ line }) => line === 5)?.json };
}

const status = (code: number, headers: Record<string, string> = {}): Respond => {
  return (response) => response.writeHead(code, headers).end('{"error":{"message":"no"}}');
};

const PASSING: [string, Respond][] = [
  ['429', status(429)],
  ['429 with Retry-After in seconds', status(429, { 'retry-after': '1' })],
  ['429 with Retry-After as a date', status(429, { 'retry-after': 'Thu, 15 Jan 2026 10:00:00 GMT' })],
  ['500', status(500)],
  ['502', status(502)],
  ['503', status(503)],
  ['529', status(529)],
  ['a connection closed without an answer', (response) => response.destroy()],
  [
    'a connection reset in the middle of the body',
    (response) => {
      response.writeHead(200, { 'content-length': '500' }).write('{"half":', () => response.socket?.resetAndDestroy());
    },
  ],
  [
    'a body that ends too early',
    (response) => {
      response.writeHead(200, { 'content-length': '500' }).write('{"half":', () => response.socket?.end());
    },
  ],
  ['a page of HTML', (response) => response.end('<html>Welcome</html>')],
  ['half a JSON text', (response) => response.end(chatAnswer('x').slice(0, 40))],
  ['a 200 with an error inside', (response) => response.end('{"error":{"message":"inside","code":"server_error"}}')],
  ['a 200 with a 429 inside', (response) => response.end('{"error":{"message":"inside","code":429}}')],
  ['a body of nothing', (response) => response.end()],
];

describe('a fault that passes', () => {
  it.each(PASSING)('loses no line: %s', async (_, fault) => {
    const { answer, results, record, poorCalls } = await run(fault, { times: 2 });
    expect(answer.next).toBe('end');
    expect(results.map(({ line, file }) => [line, file])).toEqual(
      Array.from({ length: LINES }, (_, at) => [at + 1, 'o']),
    );
    expect(poorCalls).toBe(3);
    expect(record).toMatchObject({ completed: LINES, deaths: 0, attempts: {} });
  });

  it.each<[string, Respond]>([
    ['no head', () => undefined],
    [
      'a body without an end',
      (response) => {
        response.writeHead(200);
        const more = () => void (response.destroyed || response.write(' ', () => setTimeout(more, 20)));
        more();
      },
    ],
  ])('loses no line: %s in time', async (_, fault) => {
    const { results, poorCalls } = await run(fault, { times: 1, callTimeoutSeconds: 1 });
    expect(results.filter(({ file }) => file === 'o')).toHaveLength(LINES);
    expect(poorCalls).toBe(2);
  });
});

describe('a fault that stays', () => {
  it('ends its line alone: an answer of more than ten megabytes, announced or not', async () => {
    const text = 'x'.repeat(1024 * 1024);
    const large: Respond = (response) => {
      response.writeHead(200);
      const more = () => void (response.destroyed || response.write(text, () => setImmediate(more)));
      more();
    };
    const announced: Respond = (response) =>
      response.writeHead(200, { 'content-length': String(11 * 1024 * 1024) }).write(text);
    for (const fault of [large, announced]) {
      const { results, poor, poorCalls } = await run(fault, { times: 99 });
      expect(poor).toMatchObject({ error: { code: 'response_too_large' }, attempts: 1 });
      expect(results.filter(({ file }) => file === 'o')).toHaveLength(LINES - 1);
      expect(poorCalls).toBe(1);
    }
  });

  it('ends its line alone: garbage after three tries', async () => {
    const { results, poor, poorCalls } = await run((response) => response.end('garbage'), { times: 99 });
    expect(poor).toMatchObject({ error: { code: 'invalid_response' }, attempts: 3 });
    expect(results.filter(({ file }) => file === 'o')).toHaveLength(LINES - 1);
    expect(poorCalls).toBe(3);
  });
});

describe('a server that is not there', () => {
  it('is left to Step Functions, and no attempt is used up', async () => {
    const gone = await startWebServer(() => undefined);
    await gone.close();
    const batch = await aRunningBatch(world, chatLines(20));
    const deps = workerDeps(world, { baseUrl: gone.url });
    // It has been down for a while: the pause is longer than a worker waits by itself.
    let circuit = await deps.circuits.open('default', undefined, Date.now() - 90_000);
    for (let failures = 1; failures < 5; failures++) {
      if (circuit.state !== 'open') throw new Error('It is not open');
      circuit = await deps.circuits.open('default', circuit, Date.now() - (failures === 4 ? 60_000 : 90_000));
    }
    const answer = await runShard(deps, batch.step(), LONG);
    expect(answer.next).toBe('wait');
    expect(answer.waitSeconds).toBeGreaterThan(20);
    const { records, results } = await committedResults(world, batch.ref);
    expect(results).toEqual([]);
    expect(records[0]).toMatchObject({ attempts: {}, deaths: 0, idleTurns: 1 });
    expect(await deps.circuits.get('default')).toMatchObject({ state: 'open', failures: 6 });
  });
});

describe('models that are all refused to us', () => {
  async function refused(models: string[] | undefined, options: { codes: Record<string, number> }) {
    const server = await startWebServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { model } = JSON.parse(Buffer.concat(chunks).toString()) as { model: string };
      const code = options.codes[model] ?? 200;
      response.writeHead(code).end(code === 200 ? chatAnswer('fine') : '{"error":{"code":"model_not_found"}}');
    });
    closers.push(() => server.close());
    const lines = Array.from({ length: 400 }, (_, at) => chatLine(`l-${at}`, { model: at % 2 ? 'other' : 'default' }));
    const batch = await aRunningBatch(world, lines, models ? { models } : {});
    const worker = { inFlightStart: 4, inFlightMax: 4 };
    const answer = await runShard(workerDeps(world, { baseUrl: server.url, worker }), batch.step(), LONG);
    const [head, control] = await Promise.all([world.batches.get(batch.ref), world.controls.get(batch.ref.batchId)]);
    const { results } = await committedResults(world, batch.ref);
    return { answer, head, control, results, requests: server.requests.length };
  }

  it('fail the batch at once, with the reason; lines that were not run are left to its end', async () => {
    const { answer, head, control, results } = await refused(['default', 'other'], {
      codes: { 'model-1': 401, 'model-2': 404 },
    });
    expect(answer.next).toBe('end');
    expect(head?.outcome).toMatchObject({
      kind: 'failed',
      reason: 'model_unauthorized',
      message: "The model's server refused the credentials (HTTP 401). The batch has no other model.",
    });
    expect(control).toMatchObject({ action: 'stop', reason: 'failed' });
    expect(results.length).toBeGreaterThan(0);
    expect(results.length).toBeLessThan(400);
    for (const { json } of results)
      expect(['model_unauthorized', 'model_not_found']).toContain((json.error as { code: string }).code);
  });

  it('fail their own lines alone where another model is left, here or in other shards', async () => {
    const left = await refused(['default', 'other'], { codes: { 'model-1': 401 } });
    expect(left.head?.outcome).toBeUndefined();
    expect(left.results.filter(({ file }) => file === 'o')).toHaveLength(200);
    const elsewhere = await refused(['default', 'other', 'third'], { codes: { 'model-1': 401, 'model-2': 401 } });
    expect(elsewhere.head?.outcome).toBeUndefined();
    expect(elsewhere.control).toMatchObject({ action: 'run' });
    expect(elsewhere.results).toHaveLength(400);
  });

  it('fail their lines one by one where the plan does not name the models', async () => {
    const { head, results } = await refused(undefined, { codes: { 'model-1': 401, 'model-2': 401 } });
    expect(head?.outcome).toBeUndefined();
    expect(results).toHaveLength(400);
  });
});
