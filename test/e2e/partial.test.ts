import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBatchClient } from '../support/batchClient.ts';
import { withCanaries } from '../support/canaries.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { chatAnswer, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** Prompts that begin with a gate's name are answered once the test has opened it. */
const gates = { first: Promise.withResolvers<void>(), second: Promise.withResolvers<void>() };

let run: TestRun;
let model: Awaited<ReturnType<typeof startModelServer>>;
let receiver: Awaited<ReturnType<typeof startTestReceiver>>;
let silent: WebServer;
let client: ReturnType<typeof createBatchClient>;

beforeAll(async () => {
  model = await startModelServer(async (request) => {
    const prompt = promptOf(request);
    if (prompt.startsWith('first')) await gates.first.promise;
    if (prompt.startsWith('second')) await gates.second.promise;
    if (prompt.includes('refuse')) return { status: 400, body: '{"error":{"message":"no such thing"}}' };
    return { status: 200, body: chatAnswer(`echo ${prompt}`) };
  });
  receiver = await startTestReceiver();
  // An input that never comes.
  silent = await startWebServer(() => undefined);
  run = await startTestRun({
    modelsFile: writeModels({
      providers: { scripted: { kind: 'openai', base_url: model.baseUrl, api_key: false } },
      models: { default: { provider: 'scripted', model: 'm', endpoints: ['chat/completions'] } },
      agents: { '*': { model: 'default' } },
    }),
    settings: {
      ...TEST_SETTINGS,
      worker: { ...TEST_SETTINGS.worker, commitEverySeconds: 1, controlEverySeconds: 1, settleSeconds: 1 },
      snapshots: { refreshSeconds: 1 },
    },
  });
  client = createBatchClient(run.url, run.apiKey);
});

afterAll(async () => {
  gates.first.resolve();
  gates.second.resolve();
  await run?.close();
  await model?.close();
  await receiver?.close();
  await silent?.close();
});

const line = (prompt: string) =>
  JSON.stringify({ custom_id: prompt, method: 'POST', url: '/agents/a/invoke', body: { input: prompt } });
const create = async (lines: string[], fields: Record<string, unknown> = {}) =>
  client.create({
    type: 'COMPLETIONS',
    input_file_url: await client.upload(lines.join('\n')),
    callback_url: receiver.url,
    ...fields,
  });

const POLL_MS = 100;

type Files = { output_file_url: string | null; errors_file_url: string | null; expires_at: string; as_of: string };
const askPartial = (id: string, key?: string) =>
  run.call('GET', `/batches/${id}/download?partial=true`, key === undefined ? {} : { key });
const fetchText = async (url: string | null) => (url === null ? '' : await (await fetch(url)).text());
const idsIn = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((each) => JSON.parse(each).custom_id as string | null);

/** Asks until a snapshot shows so many lines. */
async function untilPartial(id: string, lines: number) {
  for (; ; await pause(POLL_MS)) {
    const { status, headers, body } = await askPartial(id);
    expect([200, 202]).toContain(status);
    if (status === 202) {
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      expect(body).toEqual({ output_file_url: null, errors_file_url: null, expires_at: null, as_of: null });
      continue;
    }
    const files = body as Files;
    const [output, errors] = await Promise.all([fetchText(files.output_file_url), fetchText(files.errors_file_url)]);
    if (idsIn(output).length + idsIn(errors).length >= lines) return { ...files, output, errors };
  }
}

async function makeKey(projectId: string, role: string): Promise<string> {
  const { status, body } = await run.callAsOperator('POST', '/keys', {
    body: { project_id: projectId, role, name: `${projectId} ${role}` },
  });
  expect(status).toBe(201);
  return body.key;
}

const digestOf = (text: string) => ({
  bytes: Buffer.byteLength(text),
  sha256: createHash('sha256').update(text).digest('hex'),
});
const receiptOf = async (id: string) => (await run.call('GET', `/batches/${id}/receipt`)).body;

describe('a batch whose model stops answering half way', () => {
  const prompts = Array.from({ length: 24 }, (_, index) => {
    const gate = index % 4 === 1 ? 'first ' : index % 4 === 3 ? 'second ' : '';
    return `${gate}${index % 6 === 0 ? 'refuse ' : ''}${index}`;
  });
  // The twelfth line is no request.
  const input = [...prompts.slice(0, 11).map(line), '{"custom_id":"bad"}', ...prompts.slice(11).map(line)];
  const waiting = (...gate: string[]) => prompts.filter((prompt) => !gate.some((name) => prompt.startsWith(name)));
  const split = (shown: string[]) => ({
    output: shown.filter((prompt) => !prompt.includes('refuse')),
    errors: ['bad', ...shown.filter((prompt) => prompt.includes('refuse'))].sort(byPlace),
  });
  const order = ['bad', ...prompts];
  const placeOf = (id: string) => (id === 'bad' ? 10.5 : order.indexOf(id) - 1);
  const byPlace = (a: string, b: string) => placeOf(a) - placeOf(b);

  test('shows what is committed in the order of the input, later more, and its files after the end', async () => {
    const { id } = await create(input, { on_invalid_line: 'skip' });

    const early = await untilPartial(id, waiting('first', 'second').length + 1);
    expect(idsIn(early.output)).toEqual(split(waiting('first', 'second')).output);
    expect(idsIn(early.errors)).toEqual(split(waiting('first', 'second')).errors);
    const running = await client.get(id);
    expect(running).toMatchObject({ status: 'in_progress', has_output_file: false });
    expect(Date.parse(early.as_of)).toBeGreaterThanOrEqual(Date.parse(String(running.created_at)));
    expect(Date.parse(early.expires_at)).toBeGreaterThan(Date.parse(early.as_of));

    // Without `partial` the answers of an unaware client are as before.
    const plain = await run.call('GET', `/batches/${id}/download`);
    expect(plain).toMatchObject({ status: 409, body: { error: 'conflict' } });
    expect(await run.call('GET', `/batches/${id}/download?partial=false`)).toMatchObject({ status: 409 });
    expect(await run.call('GET', `/batches/${id}/receipt`)).toMatchObject({ status: 409, body: { error: 'conflict' } });
    const misspelt = await run.call('GET', `/batches/${id}/download?partial=yes`);
    expect(misspelt).toMatchObject({ status: 400, body: { details: [{ param: 'partial' }] } });

    gates.first.resolve();
    const later = await untilPartial(id, waiting('second').length + 1);
    expect(idsIn(later.output)).toEqual(split(waiting('second')).output);
    expect(idsIn(later.errors)).toEqual(split(waiting('second')).errors);
    expect(later.as_of > early.as_of).toBe(true);
    // Who has the earlier URLs can still read them.
    expect(await fetchText(early.output_file_url)).toBe(early.output);

    const viewer = await makeKey(run.projectId, 'viewer');
    const stranger = await makeKey('another-project', 'owner');
    expect((await askPartial(id, viewer)).status).toBe(200);
    expect(await askPartial(id, stranger)).toMatchObject({ status: 404, body: { error: 'not_found' } });
    expect((await run.call('GET', `/batches/${id}/receipt`, { key: stranger })).status).toBe(404);

    gates.second.resolve();
    const ended = await client.untilEnded(id);
    expect(ended).toMatchObject({ status: 'completed', request_counts: { total: 25, completed: 20, failed: 5 } });
    const final = await untilPartial(id, 25);
    expect(final.as_of).toBe(ended.completed_at);
    const { body: files } = await run.call('GET', `/batches/${id}/download`);
    expect(files).not.toHaveProperty('as_of');
    expect(await fetchText(files.output_file_url)).toBe(final.output);
    expect(await fetchText(files.errors_file_url)).toBe(final.errors);
    expect(idsIn(final.output)).toEqual(split(prompts).output);
    expect(idsIn(final.errors)).toEqual(split(prompts).errors);
    // What was shown is in the end's files as it was shown.
    const finalLines = new Set([...final.output.split('\n'), ...final.errors.split('\n')]);
    for (const shown of [early, later])
      for (const each of [...shown.output.split('\n'), ...shown.errors.split('\n')])
        expect(finalLines.has(each)).toBe(true);

    const { body: receipt } = await run.call('GET', `/batches/${id}/receipt`, { key: viewer });
    expect(receipt).toEqual({
      batch_id: id,
      lines: 25,
      completed: 20,
      failed: 5,
      input: digestOf(withCanaries(input.join('\n'))),
      output: digestOf(final.output),
      errors: digestOf(final.errors),
    });
  });
});

describe('a receipt', () => {
  test('of a batch that validation failed has its input and its bad lines', async () => {
    const input = [line('good'), '[]', line('good')];
    const { id } = await create(input);
    const ended = await client.untilEnded(id);
    expect(ended).toMatchObject({ status: 'failed', has_output_file: false, has_errors_file: true });
    const { body: files } = await run.call('GET', `/batches/${id}/download`);
    expect(await receiptOf(id)).toEqual({
      batch_id: id,
      lines: 2,
      completed: 0,
      failed: 2,
      input: digestOf(withCanaries(input.join('\n'))),
      output: null,
      errors: digestOf(await fetchText(files.errors_file_url)),
    });
  });

  test('of a batch that was cancelled while validating has nothing; its partial download neither', async () => {
    const input_file_url = `${silent.url}/input.jsonl`;
    const { id } = await client.create({ type: 'COMPLETIONS', input_file_url, callback_url: receiver.url });
    const early = await askPartial(id);
    expect(early).toMatchObject({ status: 202, body: { output_file_url: null, as_of: null } });
    expect(early.headers.get('retry-after')).toMatch(/^\d+$/);
    expect((await run.call('GET', `/batches/${id}/receipt`)).status).toBe(409);
    expect((await run.call('POST', `/batches/${id}/cancel`)).status).toBe(200);
    const ended = await client.untilEnded(id);
    expect(ended).toMatchObject({ status: 'cancelled', has_output_file: false, has_errors_file: false });
    expect(await receiptOf(id)).toEqual({
      batch_id: id,
      lines: 0,
      completed: 0,
      failed: 0,
      input: null,
      output: null,
      errors: null,
    });
    expect(await askPartial(id)).toMatchObject({
      status: 200,
      body: { output_file_url: null, errors_file_url: null, expires_at: null, as_of: ended.cancelled_at },
    });
  });
});
