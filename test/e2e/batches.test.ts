import { gzipSync } from 'node:zlib';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBatchClient } from '../support/batchClient.ts';
import { withoutCanaries } from '../support/canaries.ts';
import { startTestRun, type TestRun } from '../support/localRun.ts';
import {
  chatAnswer,
  type ModelReply,
  type ModelRequest,
  promptOf,
  startModelServer,
  writeModels,
} from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';

/** What the model answers is written in the prompt; every prompt is otherwise echoed. */
function scripted(request: ModelRequest): ModelReply {
  const prompt = promptOf(request);
  if (prompt.startsWith('refuse')) return { status: 400, body: '{"error":{"message":"no such thing"}}' };
  if (prompt.startsWith('flaky') && request.attempt < 3)
    return { status: 500, body: '{"error":{"message":"try again"}}' };
  if (prompt.startsWith('busy') && request.attempt < 2)
    return { status: 429, body: '{"error":{"message":"slow down"}}', headers: { 'retry-after': '1' } };
  if (prompt.startsWith('broken')) return { status: 200, body: 'this is not JSON' };
  return { status: 200, body: chatAnswer(`echo ${prompt}`) };
}

let run: TestRun;
let model: Awaited<ReturnType<typeof startModelServer>>;
let receiver: Awaited<ReturnType<typeof startTestReceiver>>;
let client: ReturnType<typeof createBatchClient>;

beforeAll(async () => {
  model = await startModelServer(scripted);
  receiver = await startTestReceiver();
  run = await startTestRun({
    modelsFile: writeModels({
      providers: {
        scripted: { kind: 'openai', base_url: model.baseUrl, api_key: false },
        simulator: { kind: 'simulator' },
      },
      models: {
        default: { provider: 'simulator', model: 'sim', endpoints: ['chat/completions', 'completions', 'responses'] },
        scripted: { provider: 'scripted', model: 'scripted-1', endpoints: ['chat/completions'] },
        embedding: { provider: 'simulator', model: 'sim-embed', endpoints: ['embeddings'] },
      },
      agents: { '*': { model: 'default' }, scripted: { model: 'scripted' } },
      vectors: { model: 'embedding' },
    }),
    settings: { worker: { retryBaseMs: 10, retryMaxMs: 50 } },
  });
  client = createBatchClient(run.url, run.apiKey);
});

afterAll(async () => {
  await run?.close();
  await model?.close();
  await receiver?.close();
});

const agentLine = (customId: string, input: string, agent = 'any') =>
  JSON.stringify({ custom_id: customId, method: 'POST', url: `/agents/${agent}/invoke`, body: { input } });
const vectorLine = (customId: string, text: string) =>
  JSON.stringify({
    custom_id: customId,
    method: 'POST',
    url: '/vectors',
    body: { vectors: [{ id: `v-${customId}`, values: [], metadata: { text } }] },
  });

async function runBatch(content: string | Uint8Array, fields: Record<string, unknown> = {}) {
  const batch = await client.create({
    type: 'COMPLETIONS',
    input_file_url: await client.upload(content),
    callback_url: receiver.url,
    ...fields,
  });
  return await client.untilEnded(batch.id);
}

describe('a batch from creation to notification', () => {
  test('1,000 COMPLETIONS lines come out once each, in order, and the receiver is told with a signature', async () => {
    const ids = Array.from({ length: 1_000 }, (_, index) => `request-${index + 1}`);
    const created = await client.create({
      type: 'COMPLETIONS',
      input_file_url: await client.upload(ids.map((id) => agentLine(id, `prompt of ${id}`)).join('\n')),
      callback_url: receiver.url,
      description: 'a thousand lines',
      metadata: { team: 'copy' },
    });
    expect(created).toMatchObject({
      status: 'validating',
      has_output_file: false,
      completion_window: '24h',
      errors: [],
    });
    const batch = await client.untilEnded(created.id);
    expect(batch).toMatchObject({
      status: 'completed',
      has_output_file: true,
      has_errors_file: false,
      request_counts: { total: 1_000, completed: 1_000, failed: 0 },
      metadata: { team: 'copy' },
      errors: [],
    });
    for (const time of ['in_progress_at', 'finalizing_at', 'completed_at', 'files_expire_at']) {
      expect(batch[time], time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    }
    expect(batch.usage?.total_tokens).toBe((batch.usage?.input_tokens ?? 0) + (batch.usage?.output_tokens ?? 0));
    const { output, errors } = await client.results(batch.id);
    expect(errors).toEqual([]);
    expect(output.map((line) => line.custom_id)).toEqual(ids);
    for (const line of output) {
      expect(line.id).toBe(`${batch.id}_${line.custom_id}`);
      expect(line.response).toMatchObject({ status_code: 200, body: { success: true, data: expect.any(String) } });
    }

    const told = await client.until(batch.id, ({ delivered_at }) => delivered_at !== null);
    expect(told.delivery).toMatchObject({ attempts: 1, last_status: 204 });
    const notification = receiver.received.find(({ body }) => body.includes(batch.id));
    if (!notification) throw new Error('The receiver was not told');
    const event = new Webhook(run.webhookSecret).verify(notification.body, notification.headers);
    expect(event).toMatchObject({
      event: 'batch.completed',
      batch_id: batch.id,
      status: 'completed',
      completed_at: batch.completed_at,
      has_output_file: true,
      has_errors_file: false,
    });
  });

  test('1,000 EMBEDDINGS lines come out with their vectors', async () => {
    const ids = Array.from({ length: 1_000 }, (_, index) => `v${index + 1}`);
    const batch = await runBatch(ids.map((id) => vectorLine(id, `text ${id}`)).join('\n'), { type: 'EMBEDDINGS' });
    expect(batch).toMatchObject({ status: 'completed', request_counts: { total: 1_000, completed: 1_000, failed: 0 } });
    const { output } = await client.results(batch.id);
    expect(output.map((line) => line.custom_id)).toEqual(ids);
    expect(output[0]?.response?.body).toMatchObject({
      success: true,
      vectors_count: 1,
      data: { vectors: [{ id: 'v-v1', metadata: { text: 'text v1' } }] },
    });
  });

  test('mixed failures: each line in exactly one file, both in order, with code, line and attempts', async () => {
    const kinds = ['fine', 'refuse', 'flaky', 'busy', 'broken'];
    const lines = Array.from({ length: 200 }, (_, index) => {
      const kind = kinds[index % kinds.length] ?? 'fine';
      return { id: `m-${index}`, kind, text: agentLine(`m-${index}`, `${kind} ${index}`, 'scripted') };
    });
    const batch = await runBatch(lines.map(({ text }) => text).join('\r\n'));
    expect(batch).toMatchObject({
      status: 'completed',
      request_counts: { total: 200, completed: 120, failed: 80 },
      has_output_file: true,
      has_errors_file: true,
    });
    const { output, errors } = await client.results(batch.id);
    const bad = (kind: string) => kind === 'refuse' || kind === 'broken';
    expect(output.map((line) => line.custom_id)).toEqual(lines.filter(({ kind }) => !bad(kind)).map(({ id }) => id));
    expect(errors.map((line) => line.custom_id)).toEqual(lines.filter(({ kind }) => bad(kind)).map(({ id }) => id));
    expect(errors[0]).toMatchObject({
      id: `${batch.id}_m-1`,
      line: 2,
      response: { status_code: 400, body: { error: { message: 'no such thing' } } },
      error: { code: 'model_error' },
      attempts: 1,
    });
    expect(errors[1]).toMatchObject({ line: 5, error: { code: 'invalid_response' } });
    expect(batch.errors.slice(0, 2).map(({ code, line }) => [code, line])).toEqual([
      ['model_error', 2],
      ['invalid_response', 5],
    ]);
    // One idempotency key a line, the same over its retries.
    const flaky = model.requests.filter((request) => promptOf(request) === 'flaky 2');
    expect(flaky).toHaveLength(3);
    expect(new Set(flaky.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  });

  test('/v1 lines answer with the body that the model gave, untouched', async () => {
    const line = {
      custom_id: 'raw',
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'scripted', messages: [{ role: 'user', content: 'grüße 🦆' }] },
    };
    const batch = await runBatch(`${JSON.stringify(line)}\n`);
    const { rawOutput } = await client.results(batch.id);
    expect(withoutCanaries(rawOutput[0] ?? '')).toContain(`"body":${chatAnswer('echo grüße 🦆')}}`);
    expect(model.requests.at(-1)?.body.model).toBe('scripted-1');
  });

  test('lines whose model fails all of them: completed, with an errors file alone', async () => {
    const batch = await runBatch(agentLine('only', 'refuse this', 'scripted'));
    expect(batch).toMatchObject({ status: 'completed', has_output_file: false, has_errors_file: true });
    const { body } = await client.call('GET', `/batches/${batch.id}/download`);
    expect(body.output_file_url).toBeNull();
  });
});

describe('input that is accepted as it is', () => {
  const two = [agentLine('a', 'één'), agentLine('b', '二 😀')];
  test.each([
    ['blank lines', `\n\n${two[0]}\n   \n\n${two[1]}\n\n`],
    ['a BOM', `\uFEFF${two.join('\n')}\n`],
    ['CRLF', `${two.join('\r\n')}\r\n`],
    ['no newline at the end', two.join('\n')],
    ['gzip', gzipSync(two.join('\n'))],
  ])('%s', async (_, content) => {
    const batch = await runBatch(content);
    expect(batch).toMatchObject({ status: 'completed', request_counts: { total: 2, completed: 2, failed: 0 } });
    const { output } = await client.results(batch.id);
    expect(output.map((line) => line.custom_id)).toEqual(['a', 'b']);
  });
});

describe('input that is refused', () => {
  const good = (id: string) => agentLine(id, 'hello');
  const chat = (body: unknown) => JSON.stringify({ custom_id: 'x', method: 'POST', url: '/v1/chat/completions', body });

  test.each<[string, string | Uint8Array, { code: string; line: number | null; param?: string }]>([
    ['nothing but white space', ' \n\n', { code: 'empty_file', line: null }],
    ['a truncated last line', `${good('a')}\n{"custom_id":"b","meth`, { code: 'invalid_json_line', line: 2 }],
    [
      'invalid UTF-8',
      Buffer.concat([Buffer.from(`${good('a')}\n{"custom_id":"`), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
      { code: 'invalid_utf8', line: 2 },
    ],
    ['a line that is an array', `${good('a')}\n[1]\n`, { code: 'invalid_line', line: 2 }],
    [
      'duplicate ids far apart',
      [good('same'), ...Array.from({ length: 3_000 }, (_, i) => good(`id-${i}`)), good('same')].join('\n'),
      { code: 'duplicate_custom_id', line: 3_002, param: 'custom_id' },
    ],
    ['a url of the other type', vectorLine('v', 'text'), { code: 'url_not_allowed_for_type', line: 1, param: 'url' }],
    [
      'stream: true',
      chat({ model: 'default', messages: [{ role: 'user', content: 'x' }], stream: true }),
      { code: 'unsupported_parameter', line: 1, param: 'body.stream' },
    ],
    [
      'an unknown model',
      chat({ model: 'nobody', messages: [{ role: 'user', content: 'x' }] }),
      { code: 'model_not_found', line: 1, param: 'body.model' },
    ],
    ['a wrong method', good('a').replace('POST', 'GET'), { code: 'invalid_method', line: 1, param: 'method' }],
    [
      'no custom_id',
      '{"method":"POST","url":"/agents/a/invoke","body":{"input":"x"}}',
      { code: 'missing_required_parameter', line: 1, param: 'custom_id' },
    ],
    [
      'a line of 20 MB',
      `${good('a')}\n${good('b').replace('hello', 'x'.repeat(20 * 1024 * 1024))}\n${good('c')}`,
      { code: 'line_too_long', line: 2 },
    ],
    [
      'a page of HTML',
      '<!DOCTYPE html>\n<html><body>Not found</body></html>\n',
      { code: 'invalid_json_line', line: 1 },
    ],
  ])('%s fails the batch and names line and field', async (_, content, { code, line, param }) => {
    const callsBefore = model.requests.length;
    const batch = await runBatch(content);
    expect(batch.status).toBe('failed');
    expect(batch.errors).toContainEqual(
      expect.objectContaining({ code, line, message: expect.any(String), ...(param === undefined ? {} : { param }) }),
    );
    expect(model.requests.length).toBe(callsBefore);
  });

  test('with "skip" bad lines go to the errors file and the others run', async () => {
    const batch = await runBatch([good('a'), 'not json', good('a'), good('b')].join('\n'), { on_invalid_line: 'skip' });
    expect(batch).toMatchObject({ status: 'completed', request_counts: { total: 4, completed: 2, failed: 2 } });
    const { output, errors } = await client.results(batch.id);
    expect(output.map((line) => line.custom_id)).toEqual(['a', 'b']);
    expect(errors.map((line) => [line.line, line.id, line.error?.code])).toEqual([
      [2, `${batch.id}_line-2`, 'invalid_json_line'],
      [3, `${batch.id}_line-3`, 'duplicate_custom_id'],
    ]);
  });
});
