import { setTimeout as pause } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keys } from '../../shared/adapters/dynamodb/keys.ts';
import { updateRecord } from '../../shared/adapters/dynamodb/records.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { createBatchClient, type ResultLine, type WireBatch } from '../support/batchClient.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { chatAnswer, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';
import { openRunStores, type RunStores } from '../support/runStores.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** What the check gives a batch after its deadline to end by itself. */
const GRACE_SECONDS = 10;
const POLL_MS = 250;
const DAY_MS = 86_400_000;

/** When the model answered which prompt. */
const answeredAt = new Map<string, number>();
/** What holds up the answer to the prompt `gate`. */
const gate = Promise.withResolvers<void>();

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
    if (prompt.startsWith('wait')) return { status: 429, body: '{"error":{}}', headers: { 'retry-after': '600' } };
    if (prompt.startsWith('slow')) await pause(4_000);
    if (prompt.startsWith('never')) await new Promise(() => undefined);
    if (prompt === 'gate') await gate.promise;
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
    settings: {
      ...TEST_SETTINGS,
      check: { ...TEST_SETTINGS.check, graceSeconds: GRACE_SECONDS },
      worker: {
        ...TEST_SETTINGS.worker,
        // Two calls of 4 s at a time: 49 lines are not through in a minute.
        ...{ inFlightStart: 2, inFlightMax: 2 },
        ...{ controlEverySeconds: 2, settleSeconds: 6 },
      },
    },
  });
  client = createBatchClient(run.url, run.apiKey, POLL_MS);
  stores = openRunStores(run);
  up.resolve();
});

afterAll(async () => {
  gate.resolve();
  stores?.close();
  await run?.close();
  await Promise.all([model?.close(), receiver?.close(), source?.close()]);
});

/** All of these run at once as soon as the system is up: the shortest window there is takes a minute. */
function testAtOnce(name: string, play: () => Promise<void>): void {
  const played = up.promise.then(play);
  played.catch(() => undefined);
  test(name, () => played, 240_000);
}

const line = (prompt: string) =>
  JSON.stringify({ custom_id: prompt, method: 'POST', url: '/agents/a/invoke', body: { input: prompt } });
const prompts = (kind: string, count: number) => Array.from({ length: count }, (_, index) => `${kind} ${index}`);

const createFrom = (input_file_url: string) =>
  client.create({ type: 'COMPLETIONS', input_file_url, callback_url: receiver.url, completion_window: '1m' });
const create = async (ids: string[]) => createFrom(await client.upload(ids.map(line).join('\n')));
const refOf = ({ id }: WireBatch) => ({ projectId: run.projectId, batchId: id });

/** Looks at what is at hand, until it is so; the test's own timeout bounds it. */
async function untilHere(is: () => boolean): Promise<void> {
  while (!is()) await pause(20);
}
const time = (batch: WireBatch, field: string) => Date.parse(String(batch[field]));
const untilDeadline = (batch: WireBatch, offsetMs = 0) =>
  untilHere(() => Date.now() > time(batch, 'expires_at') + offsetMs);
const notificationsOf = ({ id }: WireBatch) => receiver.received.filter(({ body }) => body.includes(id));
const isTold = (batch: WireBatch) => () => notificationsOf(batch).length > 0;

/** Waits for what the check does: the operator's, since the schedule's comes once a minute. */
async function untilChecked(batch: WireBatch): Promise<void> {
  await untilDeadline(batch, GRACE_SECONDS * 1000);
  while (!isTold(batch)()) {
    expect((await run.callAsOperator('GET', '/batches/check-batches')).status).toBe(200);
    await pause(1_000);
  }
}

/** Waits until the client is told of the end, and checks what holds for every batch that expired. */
async function untilExpired(created: WireBatch) {
  await untilHere(isTold(created));
  const batch = await client.get(created.id);
  expect(batch).toMatchObject({ status: 'expired', completed_at: null, failed_at: null, cancelled_at: null });
  expect(batch.expires_at).toBe(created.expires_at);
  expect(time(batch, 'expired_at')).toBeGreaterThanOrEqual(time(batch, 'expires_at'));
  const results = await client.results(batch.id);
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

const NOT_RUN = { response: null, error: { code: 'batch_expired', message: expect.any(String) }, attempts: 0 };

describe('a batch whose window ends', () => {
  testAtOnce('in the map keeps what the model answered; the others were not run', async () => {
    const ids = prompts('slow', 49);
    const { batch, output, errors } = await untilExpired(await create(ids));
    expectAllOf(ids, { output, errors });
    const paid = ids.filter((id) => (answeredAt.get(id) ?? Number.POSITIVE_INFINITY) <= time(batch, 'expires_at'));
    expect(paid.length).toBeGreaterThan(0);
    const kept = output.map(({ custom_id }) => custom_id);
    expect(paid.filter((id) => !kept.includes(id))).toEqual([]);
    expect(errors.length).toBeGreaterThan(0);
    for (const each of errors) expect(each).toMatchObject(NOT_RUN);

    await client.until(batch.id, ({ delivered_at }) => delivered_at !== null);
    const [told, ...more] = notificationsOf(batch);
    expect(more).toEqual([]);
    expect(told && new Webhook(run.webhookSecret).verify(told.body, told.headers)).toMatchObject({
      event: 'batch.expired',
      batch_id: batch.id,
      status: 'expired',
      completed_at: batch.expired_at,
      has_output_file: true,
      has_errors_file: true,
    });
    expect((await run.call('POST', `/batches/${batch.id}/cancel`)).status).toBe(409);
  });

  testAtOnce('while its worker waits for the model: what was refused says so, the rest was not run', async () => {
    // The worker stops calling the model after four refusals in a row, with one more call in flight.
    const ids = ['quick', ...prompts('wait', 12)];
    const { output, errors } = await untilExpired(await create(ids));
    expectAllOf(ids, { output, errors });
    expect(output.map(({ custom_id }) => custom_id)).toEqual(['quick']);
    const refused = errors.filter(({ error }) => error?.code === 'rate_limited');
    expect(refused.length).toBeGreaterThan(0);
    for (const each of refused) expect(each).toMatchObject({ response: { status_code: 429 } });
    const notRun = errors.filter((each) => !refused.includes(each));
    expect(notRun.length).toBeGreaterThan(0);
    for (const each of notRun) expect(each).toMatchObject(NOT_RUN);
  });

  testAtOnce('while its input dribbles in ends with no files', async () => {
    const { batch } = await untilExpired(await createFrom(`${source.url}/dribble`));
    expect(batch).toMatchObject({
      in_progress_at: null,
      has_output_file: false,
      has_errors_file: false,
      request_counts: { total: 0, completed: 0, failed: 0 },
      errors: [],
    });
  });
});

describe('a batch that does not see its window end is ended by the check', () => {
  testAtOnce('while its input does not come at all', async () => {
    const created = await createFrom(`${source.url}/silent`);
    await untilChecked(created);
    const { batch } = await untilExpired(created);
    expect(batch).toMatchObject({ in_progress_at: null, has_output_file: false, has_errors_file: false });
  });

  testAtOnce('while its calls hang', async () => {
    const ids = ['quick', 'never'];
    const created = await create(ids);
    await untilChecked(created);
    const { batch, output, errors } = await untilExpired(created);
    expect(output).toMatchObject([{ custom_id: 'quick' }]);
    expect(errors).toMatchObject([{ custom_id: 'never', ...NOT_RUN }]);
    expect(await stores.batches.get(refOf(batch))).toMatchObject({ attempt: 2 });
  });

  testAtOnce('while its worker waits, and takes another time for its deadline', async () => {
    const ids = ['quick', ...prompts('wait', 3)];
    const created = await create(ids);
    await updateRecord(stores.table, keys.control(created.id), (e) => ({
      set: [e.equals('deadline', Date.now() + DAY_MS)],
    }));
    await untilChecked(created);
    const { batch, output, errors } = await untilExpired(created);
    expectAllOf(ids, { output, errors });
    expect(output).toHaveLength(1);
    expect(await stores.batches.get(refOf(batch))).toMatchObject({ attempt: 2 });
  });
});

describe('a batch whose lines are all done in time', () => {
  testAtOnce('is completed, though it is gathered after its window', async () => {
    const ids = ['quick', 'gate'];
    const created = await create(ids);
    await untilHere(() => model.requests.some((request) => promptOf(request) === 'gate'));
    // Plan cannot read it when the map is through, and tries again until it can.
    const mend = await stores.spoil(objectKeys.plan(refOf(created), 1));
    await untilDeadline(created, -5_000);
    gate.resolve();
    await client.until(created.id, ({ request_counts }) => request_counts.completed === 2);
    await untilDeadline(created);
    await mend();
    await untilHere(isTold(created));
    const batch = await client.get(created.id);
    expect(batch).toMatchObject({ status: 'completed', expired_at: null, has_errors_file: false });
    expect(time(batch, 'completed_at')).toBeGreaterThan(time(batch, 'expires_at'));
    const { output } = await client.results(batch.id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(ids);
  });
});
