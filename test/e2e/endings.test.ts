import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBatchClient, type WireBatch } from '../support/batchClient.ts';
import { startTestRun, type TestRun } from '../support/localRun.ts';
import { chatAnswer, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** Every set of files that a batch can end with, and what each route says of it. */
let run: TestRun;
let model: Awaited<ReturnType<typeof startModelServer>>;
let receiver: Awaited<ReturnType<typeof startTestReceiver>>;
/** Answers 404 for one file, and for another begins an answer that has no end. */
let source: WebServer;
let client: ReturnType<typeof createBatchClient>;

beforeAll(async () => {
  model = await startModelServer((request) =>
    promptOf(request).startsWith('refuse')
      ? { status: 400, body: '{"error":{"message":"refused"}}' }
      : { status: 200, body: chatAnswer('fine') },
  );
  receiver = await startTestReceiver();
  source = await startWebServer((request, response) => {
    if (request.url === '/endless.jsonl') response.writeHead(200, { 'content-type': 'application/jsonl' }).write('{');
    else response.writeHead(404).end();
  });
  run = await startTestRun({
    modelsFile: writeModels({
      providers: { scripted: { kind: 'openai', base_url: model.baseUrl, api_key: false } },
      models: { default: { provider: 'scripted', model: 'm', endpoints: ['chat/completions'] } },
      agents: { '*': { model: 'default' } },
    }),
  });
  client = createBatchClient(run.url, run.apiKey);
});

afterAll(async () => {
  await run?.close();
  await model?.close();
  await receiver?.close();
  await source?.close();
});

const line = (id: string, input = 'hello') =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/agents/any/invoke', body: { input } });

async function create(input: { content: string } | { url: string }, fields: Record<string, unknown> = {}) {
  const input_file_url = 'url' in input ? input.url : await client.upload(input.content);
  return client.create({ type: 'COMPLETIONS', input_file_url, callback_url: receiver.url, ...fields });
}

const digest = (lines: string[]) => {
  const text = lines.map((each) => `${each}\n`).join('');
  return text === ''
    ? null
    : { bytes: Buffer.byteLength(text), sha256: createHash('sha256').update(text).digest('hex') };
};

/** Holds what every route says of an ended batch against the number of lines in its files. */
async function expectEnding(
  batch: WireBatch,
  {
    status,
    output,
    errors,
    total = output + errors,
  }: { status: string; output: number; errors: number; total?: number },
): Promise<void> {
  expect(batch).toMatchObject({
    status,
    has_output_file: output > 0,
    has_errors_file: errors > 0,
    request_counts: { total, completed: output, failed: errors },
    retry_of: null,
  });
  expect(batch[`${status}_at`]).not.toBeNull();
  expect(batch.files_expire_at).not.toBeNull();

  const download = await client.call('GET', `/batches/${batch.id}/download`);
  expect(download).toMatchObject({
    status: 200,
    body: {
      output_file_url: output > 0 ? expect.stringContaining('http') : null,
      errors_file_url: errors > 0 ? expect.stringContaining('http') : null,
      expires_at: output + errors > 0 ? expect.any(String) : null,
    },
  });
  const files = await client.results(batch.id);
  expect([files.output.length, files.errors.length]).toEqual([output, errors]);

  const receipt = await client.call('GET', `/batches/${batch.id}/receipt`);
  expect(receipt).toMatchObject({
    status: 200,
    body: {
      batch_id: batch.id,
      lines: output + errors,
      completed: output,
      failed: errors,
      output: digest(files.rawOutput),
      errors: digest(files.rawErrors),
    },
  });

  const told = await client.until(batch.id, ({ delivered_at }) => delivered_at !== null);
  const notification = receiver.received.find(({ body }) => body.includes(batch.id));
  expect(JSON.parse(notification?.body ?? '{}')).toEqual({
    event: `batch.${status}`,
    batch_id: batch.id,
    status,
    completed_at: told[`${status}_at`],
    has_output_file: output > 0,
    has_errors_file: errors > 0,
    request_counts: { total, completed: output, failed: errors },
    project_id: batch.project_id,
  });
}

test('some bad lines with "skip": completed, with both files', async () => {
  const content = [line('a'), 'no JSON', line('b'), line('a')].join('\n');
  const { id } = await create({ content }, { on_invalid_line: 'skip' });
  const batch = await client.untilEnded(id);
  await expectEnding(batch, { status: 'completed', output: 2, errors: 2 });
  expect(batch.errors.map(({ code, line: number }) => [code, number])).toEqual([
    ['invalid_json_line', 2],
    ['duplicate_custom_id', 4],
  ]);
});

test('nothing but bad lines with "skip": completed, with an errors file alone, and no call is made', async () => {
  const calls = model.requests.length;
  const { id } = await create({ content: '[]\n\n{"custom_id":"a"}\n"text"\n' }, { on_invalid_line: 'skip' });
  await expectEnding(await client.untilEnded(id), { status: 'completed', output: 0, errors: 3 });
  const { errors } = await client.results(id);
  expect(errors).toMatchObject([
    { id: `${id}_line-1`, custom_id: null, line: 1, response: null, error: { code: 'invalid_line' }, attempts: 0 },
    { id: `${id}_a`, custom_id: 'a', line: 3, error: { code: 'missing_required_parameter' } },
    { id: `${id}_line-4`, custom_id: null, line: 4, error: { code: 'invalid_line' } },
  ]);
  expect(model.requests.length).toBe(calls);
});

test('bad lines with "fail": failed, with its bad lines alone, and no call is made', async () => {
  const calls = model.requests.length;
  const all = await create({ content: '[]\nnull\n' });
  const some = await create({ content: [line('a'), '[]', line('b')].join('\n') });
  await expectEnding(await client.untilEnded(all.id), { status: 'failed', output: 0, errors: 2 });
  await expectEnding(await client.untilEnded(some.id), { status: 'failed', output: 0, errors: 1, total: 3 });
  expect(model.requests.length).toBe(calls);
});

test('lines that all fail: completed, with an errors file alone', async () => {
  const { id } = await create({ content: [line('a', 'refuse 1'), line('b', 'refuse 2')].join('\n') });
  const batch = await client.untilEnded(id);
  await expectEnding(batch, { status: 'completed', output: 0, errors: 2 });
  expect(batch.errors.map(({ code }) => code)).toEqual(['model_error', 'model_error']);
});

test('input that cannot be had, or has no lines: failed, without a file, and says why', async () => {
  const missing = await create({ url: `${source.url}/missing.jsonl` });
  const empty = await create({ content: '\n \n' });
  for (const [{ id }, code] of [
    [missing, 'input_file_unreachable'],
    [empty, 'empty_file'],
  ] as const) {
    const batch = await client.untilEnded(id);
    await expectEnding(batch, { status: 'failed', output: 0, errors: 0 });
    expect(batch.errors).toMatchObject([{ code, line: null, param: 'input_file_url' }]);
    expect((await client.call('GET', `/batches/${id}/receipt`)).body.input).toBeNull();
  }
});

test('cancelled while its input is read: cancelled, without a file', async () => {
  const { id } = await create({ url: `${source.url}/endless.jsonl` });
  expect((await client.call('GET', `/batches/${id}/receipt`)).status).toBe(409);
  expect((await client.call('GET', `/batches/${id}/download`)).status).toBe(409);
  const cancelled = await client.call('POST', `/batches/${id}/cancel`);
  expect(cancelled).toMatchObject({ status: 200, body: { status: 'cancelling', has_errors_file: false } });
  const batch = await client.untilEnded(id);
  await expectEnding(batch, { status: 'cancelled', output: 0, errors: 0 });
  expect(batch.errors).toEqual([]);
});
