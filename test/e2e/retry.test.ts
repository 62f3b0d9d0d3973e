import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createBatchClient, type WireBatch } from '../support/batchClient.ts';
import { startTestRun, type TestRun } from '../support/localRun.ts';
import { chatAnswer, type ModelRequest, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';

/** The first word of a prompt is its kind; the model refuses those of these kinds. */
const refused = new Set<string>();
/** While it is there, prompts of the kind `slow` are answered only after it. */
let gate: PromiseWithResolvers<void> | undefined;

async function reply(request: ModelRequest) {
  const prompt = promptOf(request);
  const kind = prompt.split(' ')[0] ?? '';
  if (kind === 'slow') await gate?.promise;
  if (refused.has(kind)) return { status: 400, body: '{"error":{"message":"refused"}}' };
  return { status: 200, body: chatAnswer(`echo ${prompt}`) };
}

let run: TestRun;
let model: Awaited<ReturnType<typeof startModelServer>>;
let receiver: Awaited<ReturnType<typeof startTestReceiver>>;
let client: ReturnType<typeof createBatchClient>;

beforeAll(async () => {
  model = await startModelServer(reply);
  receiver = await startTestReceiver();
  run = await startTestRun({
    watchRights: true,
    modelsFile: writeModels({
      providers: { scripted: { kind: 'openai', base_url: model.baseUrl, api_key: false } },
      models: { default: { provider: 'scripted', model: 'm', endpoints: ['chat/completions'] } },
      agents: { '*': { model: 'default' } },
    }),
    settings: {
      // Two or three shards for the tests with many lines.
      shards: { minLines: 20 },
      worker: { retryBaseMs: 10, retryMaxMs: 50, controlEverySeconds: 1, settleSeconds: 2, commitEverySeconds: 1 },
    },
  });
  client = createBatchClient(run.url, run.apiKey);
});

afterAll(async () => {
  gate?.resolve();
  await run?.close();
  await model?.close();
  await receiver?.close();
});

beforeEach(() => {
  refused.clear();
});

type Line = { id: string; kind: string };
const kindsOf = (count: number, kind: (index: number) => string): Line[] =>
  Array.from({ length: count }, (_, index) => ({ id: `line-${index + 1}`, kind: kind(index) }));
const text = ({ id, kind }: Line) =>
  JSON.stringify({
    custom_id: id,
    method: 'POST',
    url: '/agents/any/invoke',
    body: { input: `${kind} prompt of ${id}` },
  });
const ids = (lines: { custom_id: string | null }[]) => lines.map(({ custom_id }) => custom_id);
const idsOf = (lines: Line[], ...kinds: string[]) =>
  lines.filter(({ kind }) => kinds.includes(kind)).map(({ id }) => id);

async function create(content: string, fields: Record<string, unknown> = {}): Promise<WireBatch> {
  const input_file_url = await client.upload(content);
  return client.create({ type: 'COMPLETIONS', input_file_url, callback_url: receiver.url, ...fields });
}
async function runBatch(content: string, fields: Record<string, unknown> = {}): Promise<WireBatch> {
  return client.untilEnded((await create(content, fields)).id);
}
const askRetry = (id: string, body?: unknown, headers?: Record<string, string>) =>
  client.call('POST', `/batches/${id}/retry`, body, headers);
async function retry(id: string, body?: unknown): Promise<WireBatch> {
  const { status, body: made } = await askRetry(id, body);
  expect(status, JSON.stringify(made)).toBe(201);
  expect(made).toMatchObject({ retry_of: id, status: 'validating' });
  return client.untilEnded(String(made.id));
}

/** Each result once, under the batch's own id. */
async function resultsOf(batch: WireBatch) {
  const results = await client.results(batch.id);
  for (const line of [...results.output, ...results.errors])
    expect(line.id).toBe(`${batch.id}_${line.custom_id ?? `line-${line.line}`}`);
  return results;
}

describe('a retry of lines that failed', () => {
  test('runs those lines and no other, on the input and with the fields of the first batch', async () => {
    const lines = kindsOf(40, (index) => (index % 4 === 1 ? 'shy' : 'fine'));
    refused.add('shy');
    // Blank lines and CRLF: numbers of lines are those of the input.
    const content = `\n${lines.map(text).join('\r\n\r\n')}`;
    const first = await runBatch(content, { description: 'the first', metadata: { team: 'copy' } });
    expect(first.request_counts).toEqual({ total: 40, completed: 30, failed: 10 });

    refused.clear();
    const callsBefore = model.requests.length;
    const second = await retry(first.id);
    expect(second).toMatchObject({
      status: 'completed',
      name: first.name,
      description: 'the first',
      metadata: { team: 'copy' },
      callback_url: first.callback_url,
      input_file_url: first.input_file_url,
      completion_window: '24h',
      request_counts: { total: 10, completed: 10, failed: 0 },
      has_output_file: true,
      has_errors_file: false,
      errors: [],
    });
    const { output } = await resultsOf(second);
    expect(ids(output)).toEqual(idsOf(lines, 'shy'));
    const asked = model.requests.slice(callsBefore).map((request) => promptOf(request).split(' ').at(-1));
    expect(asked.sort()).toEqual(idsOf(lines, 'shy').sort());
    expect((await client.call('GET', `/batches/${second.id}/receipt`)).body).toMatchObject({ lines: 10, failed: 0 });
    expect((await client.get(first.id)).retry_of).toBeNull();
  });

  test('with merge makes the whole output, in the first order, and counts only its own calls', async () => {
    const lines = kindsOf(60, (index) => (index % 7 === 3 ? 'shy' : index % 13 === 5 ? 'odd' : 'fine'));
    refused.add('shy').add('odd');
    const first = await runBatch(lines.map(text).join('\n'));
    const before = await resultsOf(first);

    refused.delete('shy');
    const second = await retry(first.id, { merge: true });
    expect(second.request_counts).toEqual({
      total: 60,
      completed: 60 - idsOf(lines, 'odd').length,
      failed: idsOf(lines, 'odd').length,
    });
    expect(second.usage?.total_tokens).toBe(5 * idsOf(lines, 'shy').length);
    const merged = await resultsOf(second);
    expect(ids(merged.output)).toEqual(idsOf(lines, 'fine', 'shy'));
    expect(ids(merged.errors)).toEqual(idsOf(lines, 'odd'));
    // What was there already is the same but for its id.
    const kept = merged.rawOutput.filter((_, index) =>
      idsOf(lines, 'fine').includes(merged.output[index]?.custom_id ?? ''),
    );
    expect(kept.map((line) => line.replace(second.id, first.id))).toEqual(before.rawOutput);
    const receipt = await client.call('GET', `/batches/${second.id}/receipt`);
    expect(receipt.body).toMatchObject({ lines: 60, completed: merged.output.length, failed: merged.errors.length });
  });

  test('can be retried itself, with and without merge, until nothing is left', async () => {
    const lines = kindsOf(20, (index) => ['fine', 'shy', 'odd', 'fine', 'slow'][index % 5] ?? '');
    refused.add('shy').add('odd').add('slow');
    const first = await runBatch(lines.map(text).join('\n'));
    refused.delete('shy');
    const [plain, merged] = await Promise.all([retry(first.id), retry(first.id, { merge: true })]);
    expect(plain.request_counts).toEqual({ total: 12, completed: 4, failed: 8 });
    expect(merged.request_counts).toEqual({ total: 20, completed: 12, failed: 8 });

    refused.delete('odd');
    const [plainOfPlain, mergedOfPlain, plainOfMerged, mergedOfMerged] = await Promise.all([
      retry(plain.id),
      retry(plain.id, { merge: true }),
      retry(merged.id),
      retry(merged.id, { merge: true }),
    ]);
    const outputIds = async (batch: WireBatch) => ids((await resultsOf(batch)).output);
    expect(await outputIds(plainOfPlain)).toEqual(idsOf(lines, 'odd'));
    expect(await outputIds(mergedOfPlain)).toEqual(idsOf(lines, 'shy', 'odd'));
    expect(await outputIds(plainOfMerged)).toEqual(idsOf(lines, 'odd'));
    expect(await outputIds(mergedOfMerged)).toEqual(idsOf(lines, 'fine', 'shy', 'odd'));
    expect(ids((await resultsOf(mergedOfMerged)).errors)).toEqual(idsOf(lines, 'slow'));

    refused.delete('slow');
    const whole = await retry(mergedOfMerged.id, { merge: true });
    expect(whole).toMatchObject({ request_counts: { total: 20, completed: 20, failed: 0 }, has_errors_file: false });
    expect(await outputIds(whole)).toEqual(lines.map(({ id }) => id));
    expect(await askRetry(whole.id)).toMatchObject({ status: 409, body: { error: 'conflict' } });
  });

  test('of a cancelled batch runs what was not run, and keeps what was paid for', async () => {
    gate = Promise.withResolvers();
    const lines = kindsOf(30, (index) => (index < 12 ? 'fine' : 'slow'));
    const created = await create(lines.map(text).join('\n'));
    await client.until(created.id, ({ request_counts }) => request_counts.completed >= 10);
    expect((await askRetry(created.id)).status).toBe(409);
    expect((await client.call('POST', `/batches/${created.id}/cancel`)).status).toBe(200);
    const first = await client.untilEnded(created.id);
    gate.resolve();
    gate = undefined;
    expect(first.status).toBe('cancelled');
    const { errors } = await resultsOf(first);
    expect(new Set(errors.map(({ error }) => error?.code))).toEqual(new Set(['batch_cancelled']));

    const second = await retry(first.id, { merge: true });
    expect(second.request_counts).toEqual({ total: 30, completed: 30, failed: 0 });
    expect(ids((await resultsOf(second)).output)).toEqual(lines.map(({ id }) => id));
  });

  test('after "skip" finds bad lines bad again, and duplicates duplicates', async () => {
    const [one, two, three, four] = kindsOf(4, (index) => (index === 1 ? 'shy' : 'fine')).map(text);
    refused.add('shy');
    const content = [one, 'not json', two, one, '{"custom_id":5}', three, two, four].join('\n');
    const first = await runBatch(content, { on_invalid_line: 'skip' });
    expect(first.request_counts).toEqual({ total: 8, completed: 3, failed: 5 });

    refused.clear();
    for (const merge of [false, true]) {
      const second = await retry(first.id, { merge });
      expect(second.request_counts).toEqual({ total: merge ? 8 : 5, completed: merge ? 4 : 1, failed: 4 });
      const { output, errors } = await resultsOf(second);
      expect(ids(output)).toEqual(merge ? ['line-1', 'line-2', 'line-3', 'line-4'] : ['line-2']);
      expect(errors.map(({ line, error }) => [line, error?.code])).toEqual([
        [2, 'invalid_json_line'],
        [4, 'duplicate_custom_id'],
        [5, 'invalid_type'],
        [7, 'duplicate_custom_id'],
      ]);
    }
  });

  test('of a batch that validation failed looks at its bad lines alone, and fails for them again', async () => {
    const first = await runBatch([...kindsOf(3, () => 'fine').map(text), '[]'].join('\n'));
    expect(first).toMatchObject({ status: 'failed', request_counts: { total: 4, completed: 0, failed: 1 } });
    for (const merge of [false, true]) {
      const second = await retry(first.id, { merge });
      expect(second).toMatchObject({
        status: 'failed',
        request_counts: { total: 1, completed: 0, failed: 1 },
        has_output_file: false,
        errors: [{ code: 'invalid_line', line: 4 }],
      });
      expect((await resultsOf(second)).errors).toMatchObject([{ line: 4 }]);
    }
  });

  test('tells the receiver that it names, and has the window that it names', async () => {
    const other = await startTestReceiver();
    refused.add('shy');
    const first = await runBatch(text({ id: 'only', kind: 'shy' }));
    refused.clear();
    const second = await retry(first.id, { merge: true, callback_url: other.url, completion_window: '2h' });
    expect(second).toMatchObject({ completion_window: '2h', callback_url: other.url, has_errors_file: false });
    await other.waitFor(1);
    expect(JSON.parse(other.received[0]?.body ?? '')).toMatchObject({
      event: 'batch.completed',
      batch_id: second.id,
      request_counts: { total: 1, completed: 1, failed: 0 },
    });
    await other.close();
  });
});

describe('a retry that is refused', () => {
  let failed: WireBatch;
  beforeAll(async () => {
    refused.add('shy');
    failed = await runBatch(
      kindsOf(2, (index) => (index === 1 ? 'shy' : 'fine'))
        .map(text)
        .join('\n'),
    );
  });

  test('a batch without failed lines, and one that has no lines at all, answer 409', async () => {
    const fine = await runBatch(text({ id: 'only', kind: 'fine' }));
    const unread = await runBatch(' \n');
    for (const { id } of [fine, unread])
      expect(await askRetry(id, {})).toMatchObject({
        status: 409,
        body: { error: 'conflict', message: 'No line of the batch has failed: there is nothing to repeat.' },
      });
  });

  test('a repeat under the same Idempotency-Key answers the same batch; anything else under it is a 409', async () => {
    const key = { 'Idempotency-Key': 'again-1' };
    const [one, two] = await Promise.all([askRetry(failed.id, {}, key), askRetry(failed.id, { merge: false }, key)]);
    expect([one.status, two.status].sort()).toEqual([200, 201]);
    expect(one.body.id).toBe(two.body.id);
    expect((await askRetry(failed.id, undefined, key)).body.id).toBe(one.body.id);
    expect((await askRetry(failed.id, { merge: true }, key)).status).toBe(409);
    await client.untilEnded(String(one.body.id));
    expect((await askRetry(String(one.body.id), {}, key)).status).toBe(409);
    expect((await askRetry(failed.id, {}, { 'Idempotency-Key': 'again-2' })).body.id).not.toBe(one.body.id);
  });

  test('by another project is a 404, by a member a 403; a body that is wrong is a 400, one of no JSON a 415', async () => {
    const keyOf = async (projectId: string, role: string): Promise<string> => {
      const made = await run.callAsOperator('POST', '/keys', { body: { project_id: projectId, role, name: 'test' } });
      return made.body.key;
    };
    const path = `/batches/${failed.id}/retry`;
    const stranger = await keyOf('another-project', 'owner');
    expect((await run.call('POST', path, { key: stranger })).status).toBe(404);
    const member = await keyOf(String(failed.project_id), 'member');
    expect((await run.call('POST', path, { key: member })).status).toBe(403);
    expect(await run.call('POST', path, { body: { merge: 'yes', lines: [1] } })).toMatchObject({
      status: 400,
      body: { error: 'invalid_request', details: [{ param: 'merge' }, { param: 'lines' }] },
    });
    expect((await run.call('POST', path, { body: '{}', headers: { 'content-type': 'text/plain' } })).status).toBe(415);
  });
});
