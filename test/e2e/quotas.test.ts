import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBatchClient } from '../support/batchClient.ts';
import { type Answer, startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** More than a test asks in a minute while it waits, and soon used up by one that does nothing else. */
const REQUESTS = 120;
const QUOTAS = { requestsPerMinute: REQUESTS, openBatches: 3, uploadsPerDay: 4, uploadBytesPerDay: 1_000 };
const POLL_MS = 1_000;

let run: TestRun;
/** Begins an input, and never ends it. */
let source: WebServer;
beforeAll(async () => {
  source = await startWebServer((_, response) => void response.write('{'));
  run = await startTestRun({ settings: { ...TEST_SETTINGS, quotas: QUOTAS } });
});
afterAll(async () => {
  await source?.close();
  await run?.close();
});

let projects = 0;
async function newProject() {
  const project_id = `quota-${projects++}`;
  const made = await run.callAsOperator('POST', '/keys', { body: { project_id, role: 'owner', name: 'test' } });
  const { key } = made.body as { key: string };
  const call = (method: string, path: string, options: { body?: unknown; headers?: Record<string, string> } = {}) =>
    run.call(method, path, { key, ...options });
  return { project_id, call, client: createBatchClient(run.url, key, POLL_MS) };
}

function expectRefusal(answer: Answer, message: RegExp, atMostSeconds: number): void {
  const { retry_after: seconds } = answer.body as { retry_after: number };
  expect(answer.body).toEqual({
    error: 'rate_limit_exceeded',
    message: expect.stringMatching(message),
    code: 429,
    retry_after: expect.any(Number),
  });
  expect(answer.status).toBe(429);
  expect(answer.headers.get('retry-after')).toBe(String(seconds));
  expect(Number.isInteger(seconds) && seconds >= 1 && seconds <= atMostSeconds).toBe(true);
}

test('requests beyond those of a minute are refused whatever they ask for, and no other project feels it', async () => {
  const [flooder, other] = [await newProject(), await newProject()];
  // Many at once, so that a slow machine is through with them within the minute; some of them are refused otherwise.
  const paths = Array.from({ length: 4 }, () => ['/batches', '/batches/batch_1', '/webhooks/secret']).flat();
  let passed = 0;
  let refusal: Answer | undefined;
  while (refusal === undefined) {
    const answers = await Promise.all(paths.map((path) => flooder.call('GET', path)));
    refusal = answers.find(({ status }) => status === 429);
    passed += answers.filter(({ status }) => status !== 429).length;
    // A minute may have begun meanwhile.
    expect(passed).toBeLessThanOrEqual(2 * REQUESTS);
    expect((await other.call('GET', '/batches?take=1')).status).toBe(200);
  }
  expectRefusal(refusal, /^The project quota-\d+ has sent the 120 requests .*\(requestsPerMinute\)/, 60);
  expect((await run.call('GET', '/health', { key: null })).status).toBe(200);
});

describe('open batches', () => {
  const endless = (name: string) => ({
    ...{ name, type: 'COMPLETIONS', input_file_url: `${source.url}/in.jsonl` },
    callback_url: 'http://127.0.0.1:9/hook',
  });
  const FULL = /^The project quota-\d+ has 3 batches that have not ended.*\(openBatches\).*cancel/;

  test('are no more than the quota, of many that come at once; a repeat is answered, and an end makes room', async () => {
    const { call, client } = await newProject();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        call('POST', '/batches', { body: endless(`batch ${n}`), headers: { 'idempotency-key': `key ${n}` } }),
      ),
    );
    const made = answers.flatMap(({ status, body }, n) => (status === 201 ? [{ n, id: String(body.id) }] : []));
    expect(made).toHaveLength(3);
    const refused = answers.flatMap((answer, n) => (answer.status === 201 ? [] : [{ n, answer }]));
    for (const { answer } of refused) expectRefusal(answer, FULL, 60);

    const again = (n: number) =>
      call('POST', '/batches', { body: endless(`batch ${n}`), headers: { 'idempotency-key': `key ${n}` } });
    for (const { n, id } of made) expect(await again(n)).toMatchObject({ status: 200, body: { id } });

    const [first] = made as [(typeof made)[number]];
    const [waiting] = refused as [(typeof refused)[number]];
    expect((await call('POST', `/batches/${first.id}/cancel`)).status).toBe(200);
    expectRefusal(await again(waiting.n), FULL, 60);
    await client.untilEnded(first.id);
    // The refusals have used up no key.
    expect(await again(waiting.n)).toMatchObject({ status: 201 });
    expectRefusal(await call('POST', '/batches', { body: endless('one more') }), FULL, 60);
    expect(await again(first.n)).toMatchObject({ status: 200, body: { id: first.id, status: 'cancelled' } });
    for (const { id } of made) await call('POST', `/batches/${id}/cancel`);
  });

  test('are retries as well', async () => {
    const { call, client } = await newProject();
    const input = await client.upload('no JSON\n');
    const { id } = await client.create({ ...endless('first'), input_file_url: input, on_invalid_line: 'skip' });
    await client.untilEnded(id);
    for (let n = 0; n < 3; n++) await client.create(endless(`batch ${n}`));
    expectRefusal(await call('POST', `/batches/${id}/retry`), FULL, 60);
    const { body } = await call('GET', '/batches?take=1');
    await call('POST', `/batches/${body.batches[0].id}/cancel`);
    let retry: Answer;
    do {
      await pause(POLL_MS);
      retry = await call('POST', `/batches/${id}/retry`);
    } while (retry.status === 429);
    expect(retry).toMatchObject({ status: 201, body: { retry_of: id } });
  });
});

describe('uploads', () => {
  const DAY_SECONDS = 86_400;
  const FULL = /\(uploadsPerDay\).*\(uploadBytesPerDay\)/;

  test('of a day are no more bytes than the quota, and a smaller one may still fit', async () => {
    const { call } = await newProject();
    const ask = (bytes: number) => call('POST', '/files', { body: { bytes } });
    expectRefusal(await ask(1_001), FULL, DAY_SECONDS);
    expect((await ask(600)).status).toBe(201);
    expectRefusal(await ask(401), FULL, DAY_SECONDS);
    expect((await ask(400)).status).toBe(201);
    expectRefusal(await ask(1), FULL, DAY_SECONDS);
    expect((await (await newProject()).call('POST', '/files', { body: { bytes: 1_000 } })).status).toBe(201);
  });

  test('of a day are no more than the quota, of many that come at once', async () => {
    const { call } = await newProject();
    const answers = await Promise.all(Array.from({ length: 10 }, () => call('POST', '/files', { body: { bytes: 1 } })));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(4);
    for (const answer of answers) if (answer.status !== 201) expectRefusal(answer, FULL, DAY_SECONDS);
  });
});
