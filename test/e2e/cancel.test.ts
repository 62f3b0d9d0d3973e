import { setTimeout as pause } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { createBatchClient, type ResultLine, type WireBatch } from '../support/batchClient.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { chatAnswer, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';
import { openRunStores, type RunStores } from '../support/runStores.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** The promise: a batch that is cancelled has ended so long after the request, by its own times. */
const PROMISE_MS = 30_000;
const POLL_MS = 250;

/** When the model answered which prompt. */
const answeredAt = new Map<string, number>();
/** What holds up the answer to a prompt that names it. */
const gates = { planned: Promise.withResolvers<void>(), finalized: Promise.withResolvers<void>() };

let run: TestRun;
let model: Awaited<ReturnType<typeof startModelServer>>;
let receiver: Awaited<ReturnType<typeof startTestReceiver>>;
let source: WebServer;
let client: ReturnType<typeof createBatchClient>;
let stores: RunStores;
const up = Promise.withResolvers<void>();

beforeAll(async () => {
  model = await startModelServer(async (request) => {
    const prompt = promptOf(request);
    if (prompt.startsWith('refuse')) return { status: 400, body: '{"error":{"message":"no such thing"}}' };
    if (prompt.startsWith('wait')) return { status: 429, body: '{"error":{}}', headers: { 'retry-after': '600' } };
    if (prompt.startsWith('slow')) await pause(1_500 + 100 * Number(prompt.slice(-1)));
    if (prompt.startsWith('never')) await new Promise(() => undefined);
    for (const [name, gate] of Object.entries(gates)) if (prompt === `gate ${name}`) await gate.promise;
    answeredAt.set(prompt, Date.now());
    return { status: 200, body: chatAnswer(`echo ${prompt}`) };
  });
  receiver = await startTestReceiver();
  // Lines without end, one at a time; or nothing at all.
  source = await startWebServer((request, response) => {
    if (request.url !== '/dribble') return;
    const timer = setInterval(() => response.write(`${line(`quick ${Math.random()}`)}\n`), 100);
    response.on('close', () => clearInterval(timer));
  });
  run = await startTestRun({
    modelsFile: writeModels({
      providers: { scripted: { kind: 'openai', base_url: model.baseUrl, api_key: false } },
      models: { default: { provider: 'scripted', model: 'm', endpoints: ['chat/completions'] } },
      agents: { '*': { model: 'default' } },
    }),
    // Few calls in flight leave lines that were not run. Workers look for a stop more often than in earnest, and are
    // given less time for it, so that the promise is kept with room for a machine that is busy with other tests.
    settings: {
      ...TEST_SETTINGS,
      worker: {
        ...TEST_SETTINGS.worker,
        ...{ inFlightStart: 4, inFlightMax: 4, controlEverySeconds: 3, settleSeconds: 8 },
      },
    },
  });
  client = createBatchClient(run.url, run.apiKey, POLL_MS);
  stores = openRunStores(run);
  up.resolve();
});

afterAll(async () => {
  for (const gate of Object.values(gates)) gate.resolve();
  stores?.close();
  await run?.close();
  await Promise.all([model?.close(), receiver?.close(), source?.close()]);
});

/** All of these run at once as soon as the system is up: most take the quarter of a minute that workers are given. */
function testAtOnce(name: string, play: () => Promise<void>): void {
  const played = up.promise.then(play);
  played.catch(() => undefined);
  test(name, () => played);
}

const line = (prompt: string) =>
  JSON.stringify({ custom_id: prompt, method: 'POST', url: '/agents/a/invoke', body: { input: prompt } });
const prompts = (kind: string, count: number) => Array.from({ length: count }, (_, index) => `${kind} ${index}`);

const createFrom = (input_file_url: string, fields: Record<string, unknown> = {}) =>
  client.create({ type: 'COMPLETIONS', input_file_url, callback_url: receiver.url, ...fields });
const create = async (lines: string[], fields?: Record<string, unknown>) =>
  createFrom(await client.upload(lines.join('\n')), fields);

async function cancel(id: string): Promise<WireBatch> {
  const { status, body } = await client.call('POST', `/batches/${id}/cancel`);
  expect(status, JSON.stringify(body)).toBe(200);
  return body as WireBatch;
}

/** Looks at what is at hand, until it is so; the test's own timeout bounds it. */
async function untilHere(is: () => boolean): Promise<void> {
  while (!is()) await pause(20);
}
const isAsked = (prompt: string) => () => model.requests.some((request) => promptOf(request) === prompt);
const notificationsOf = (id: string) => receiver.received.filter(({ body }) => body.includes(id));
const time = (batch: WireBatch, field: string) => Date.parse(String(batch[field]));

/** Waits until the client is told of the end, and checks what holds for every batch that was cancelled. */
async function untilCancelled(id: string) {
  await untilHere(() => notificationsOf(id).length > 0);
  const batch = await client.get(id);
  expect(batch).toMatchObject({ status: 'cancelled', completed_at: null, failed_at: null, expired_at: null });
  expect(time(batch, 'cancelled_at') - time(batch, 'cancelling_at')).toBeLessThan(PROMISE_MS);
  const results = await client.results(id);
  const { total, completed, failed } = batch.request_counts;
  expect([results.output.length, results.errors.length]).toEqual([completed, failed]);
  expect(total).toBe(completed + failed);
  return { batch, ...results };
}

/** Each line once, in the order of the input in each of the files. */
function expectAllOf(ids: string[], { output, errors }: { output: ResultLine[]; errors: ResultLine[] }): void {
  for (const file of [output, errors]) {
    const places = file.map(({ custom_id }) => ids.indexOf(custom_id ?? ''));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
  }
  expect([...output, ...errors].map(({ custom_id }) => custom_id).toSorted()).toEqual(ids.toSorted());
}

const NOT_RUN = { response: null, error: { code: 'batch_cancelled', message: expect.any(String) } };

describe('a batch that is cancelled', () => {
  testAtOnce('in the map keeps every answer that was paid for; the others were not run', async () => {
    // One shard, hence one worker; its first lines fail, and are done when the cancel comes.
    const ids = [...prompts('refuse', 2), ...prompts('slow', 47)];
    const { id } = await create(ids.map(line));
    // The counts and the errors of one commit are two writes.
    await client.until(id, ({ request_counts, errors }) => request_counts.completed > 0 && errors.length === 2);
    const answer = await cancel(id);
    expect(answer).toMatchObject({ id, status: 'cancelling', cancelled_at: null, finalizing_at: null });
    expect(answer.errors).toMatchObject([{ code: 'model_error' }, { code: 'model_error' }]);
    expect(await cancel(id)).toMatchObject({ status: 'cancelling', cancelling_at: answer.cancelling_at });

    const { batch, output, errors } = await untilCancelled(id);
    expectAllOf(ids, { output, errors });
    expect(errors.slice(0, 2)).toMatchObject([{ error: { code: 'model_error' } }, { error: { code: 'model_error' } }]);
    expect(errors.length).toBeGreaterThan(2);
    for (const each of errors.slice(2)) expect(each).toMatchObject({ ...NOT_RUN, attempts: 0 });
    expect(batch.errors).toHaveLength(errors.length);
    const paid = ids.filter((id) => (answeredAt.get(id) ?? Number.POSITIVE_INFINITY) <= time(batch, 'cancelling_at'));
    expect(paid.length).toBeGreaterThan(0);
    const kept = output.map(({ custom_id }) => custom_id);
    expect(paid.filter((id) => !kept.includes(id))).toEqual([]);

    // Once more, now that it has ended: the batch as it is.
    expect(await cancel(id)).toMatchObject({ status: 'cancelled', cancelled_at: batch.cancelled_at });
  });

  testAtOnce('while calls hang does not wait for them, keeps its bad lines, and tells its receiver', async () => {
    const { id } = await create(['not JSON', line('quick'), line('never')], { on_invalid_line: 'skip' });
    await untilHere(isAsked('never'));
    await cancel(id);
    const { batch, output, errors } = await untilCancelled(id);
    expect(output).toMatchObject([{ custom_id: 'quick', response: { status_code: 200 } }]);
    expect(errors).toMatchObject([
      { custom_id: null, line: 1, error: { code: 'invalid_json_line' } },
      { custom_id: 'never', line: 3, attempts: 0, ...NOT_RUN },
    ]);
    await client.until(id, ({ delivered_at }) => delivered_at !== null);
    const [told, ...more] = notificationsOf(id);
    expect(more).toEqual([]);
    expect(told && new Webhook(run.webhookSecret).verify(told.body, told.headers)).toMatchObject({
      event: 'batch.cancelled',
      batch_id: id,
      status: 'cancelled',
      completed_at: batch.cancelled_at,
      has_output_file: true,
      has_errors_file: true,
      request_counts: { total: 3, completed: 1, failed: 2 },
    });
  });

  testAtOnce('between two steps ends with what it has', async () => {
    const ids = ['quick', 'gate planned'];
    const { id } = await create(ids.map(line));
    await untilHere(isAsked('gate planned'));
    // Plan cannot read it when the map is through, and tries again.
    const mend = await stores.spoil(objectKeys.plan({ projectId: run.projectId, batchId: id }, 1));
    gates.planned.resolve();
    await client.until(id, ({ request_counts }) => request_counts.completed === 2);
    expect(await cancel(id)).toMatchObject({ status: 'cancelling', finalizing_at: null });
    await mend();
    const { output } = await untilCancelled(id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(ids);
  });

  testAtOnce('while it is finalized ends with all that it has, in the same attempt', async () => {
    const ids = ['quick', 'gate finalized', 'refuse'];
    const { id } = await create(ids.map(line));
    await client.until(id, ({ request_counts }) => request_counts.completed === 1);
    // A part that Finalize cannot read: it is at it, again and again, until the part is whole.
    const parts: string[] = [];
    for await (const { segments } of stores.shards.list(id)) parts.push(...segments.map(({ key }) => key));
    expect(parts.length).toBeGreaterThan(0);
    const mends = await Promise.all(parts.map((key) => stores.spoil(key)));
    gates.finalized.resolve();
    await client.until(id, ({ status }) => status === 'finalizing');
    expect(await cancel(id)).toMatchObject({ status: 'cancelling', finalizing_at: expect.any(String) });
    for (const mend of mends) await mend();
    const { output, errors } = await untilCancelled(id);
    expectAllOf(ids, { output, errors });
    expect(output).toHaveLength(2);
    const head = await stores.batches.get({ projectId: run.projectId, batchId: id });
    expect(head).toMatchObject({ attempt: 1, outcome: { kind: 'cancelled' } });
  });

  testAtOnce('while its worker waits for the model does not wait with it', async () => {
    const ids = ['quick', ...prompts('wait', 5)];
    const { id } = await create(ids.map(line));
    // What is done is committed when the worker leaves the waiting to its machine.
    await client.until(id, ({ request_counts }) => request_counts.completed === 1);
    await cancel(id);
    const { output, errors } = await untilCancelled(id);
    expectAllOf(ids, { output, errors });
    expect(output).toHaveLength(1);
    for (const each of errors) expect(each).toMatchObject(NOT_RUN);
  });

  describe.each(['/dribble', '/silent'])('while its input comes from %s', (path) => {
    testAtOnce('ends with no files', async () => {
      const { id } = await createFrom(`${source.url}${path}`);
      await untilHere(() => source.requests.includes(`GET ${path}`));
      expect(await cancel(id)).toMatchObject({ id, status: 'cancelling', has_output_file: false, errors: [] });
      const { batch } = await untilCancelled(id);
      expect(batch).toMatchObject({
        in_progress_at: null,
        has_output_file: false,
        has_errors_file: false,
        request_counts: { total: 0, completed: 0, failed: 0 },
        errors: [],
      });
    });
  });

  testAtOnce('right after it was made ends as well', async () => {
    const { id } = await create(prompts('quick', 5).map(line));
    expect(await cancel(id)).toMatchObject({ status: 'cancelling' });
    await untilCancelled(id);
  });
});

describe('a cancel that is refused', () => {
  const refusalOf = async (id: string, key?: string) => {
    const { status, body } = await run.call('POST', `/batches/${id}/cancel`, key === undefined ? {} : { key });
    return { status, error: body.error, code: body.code };
  };
  const keyOf = async (body: Record<string, string>) =>
    (await run.callAsOperator('POST', '/keys', { body: { name: 'test', ...body } })).body.key as string;

  testAtOnce('comes after the end, whichever way the batch ended', async () => {
    const ended = [await create([line('quick')]), await create(['not JSON'])];
    for (const [index, { id }] of ended.entries()) {
      const { status } = await client.untilEnded(id);
      expect(status).toBe(['completed', 'failed'][index]);
      expect(await refusalOf(id)).toEqual({ status: 409, error: 'conflict', code: 409 });
      expect((await client.get(id)).status).toBe(status);
    }
  });

  testAtOnce('comes from somebody who may only read, from another project, or with no key', async () => {
    const { id } = await create([line('quick')]);
    for (const role of ['member', 'viewer']) {
      const key = await keyOf({ project_id: run.projectId, role });
      expect(await refusalOf(id, key)).toEqual({ status: 403, error: 'forbidden', code: 403 });
    }
    const other = await keyOf({ project_id: 'another-project', role: 'owner' });
    expect(await refusalOf(id, other)).toEqual({ status: 404, error: 'not_found', code: 404 });
    expect((await run.call('POST', `/batches/${id}/cancel`, { key: null })).status).toBe(401);
    expect((await client.untilEnded(id)).status).toBe('completed');
  });

  testAtOnce('names no batch, or uses another method', async () => {
    expect(await refusalOf('batch_01ARZ3NDEKTSV4RRFFQ69G5FAV')).toMatchObject({ status: 404 });
    expect(await refusalOf('nonsense')).toMatchObject({ status: 404 });
    const { status, headers } = await run.call('GET', '/batches/batch_01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel');
    expect([status, headers.get('allow')]).toEqual([405, 'POST']);
  });
});
