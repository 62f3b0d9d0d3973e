import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBatchClient } from '../support/batchClient.ts';
import { type Answer, startTestRun, type TestRun } from '../support/localRun.ts';

let run: TestRun;
beforeAll(async () => {
  run = await startTestRun();
});
afterAll(async () => run?.close());

// Nobody listens on port 9 here: such an input fails at once, and such a callback is never answered.
const NOWHERE = 'http://127.0.0.1:9';
const body = {
  name: 'Product descriptions',
  type: 'COMPLETIONS',
  input_file_url: `${NOWHERE}/in.jsonl`,
  callback_url: `${NOWHERE}/hook`,
};
const UNKNOWN_BATCH = 'batch_01J9ZQ3V6B8R4M2N7K5T1W0XYZ';
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

async function makeKey(fields: Record<string, unknown> = {}): Promise<{ id: string; key: string }> {
  const wanted = { project_id: 'other-project', role: 'owner', name: 'test', ...fields };
  const answer = await run.callAsOperator('POST', '/keys', { body: wanted });
  expect(answer.status).toBe(201);
  return answer.body;
}

/** Asserts the contract's one error shape. */
function expectError(answer: Answer, status: number, error: string): void {
  expect(answer.body).toMatchObject({ error, code: status, message: expect.any(String) });
  expect(answer.status).toBe(status);
  expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
}
const params = (answer: Answer): string[] => answer.body.details.map((detail: { param: string }) => detail.param);

describe('what anyone may ask', () => {
  it('GET /health answers ok and the version', async () => {
    const answer = await run.call('GET', '/health', { key: null });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ status: 'ok', version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it('GET /openapi.json answers this contract', async () => {
    const answer = await run.call('GET', '/openapi.json', { key: null });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      openapi: '3.1.0',
      paths: { '/batches': { post: { operationId: 'createBatch' } } },
    });
  });
});

describe('a path or method that is not there', () => {
  it.each([
    ['GET', '/'],
    ['GET', '/nothing'],
    ['GET', '/batches/'],
    ['GET', '/keys/'],
    ['POST', `/batches/${UNKNOWN_BATCH}/resume`],
    ['GET', '/v1/batches'],
  ])('%s %s is a 404', async (method, path) => {
    expectError(await run.call(method, path), 404, 'not_found');
  });

  it.each([
    ['DELETE', '/batches', 'GET, POST'],
    ['PUT', `/batches/${UNKNOWN_BATCH}`, 'GET'],
    ['POST', '/batches/check-batches', 'GET'],
    ['OPTIONS', '/batches', 'GET, POST'],
    ['GET', '/files', 'POST'],
  ])('%s %s is a 405 that allows %s', async (method, path, allow) => {
    const answer = await run.call(method, path, { key: null });
    expectError(answer, 405, 'method_not_allowed');
    expect(answer.headers.get('allow')).toBe(allow);
  });

  it('HEAD is a 405 without a body', async () => {
    const answer = await run.call('HEAD', '/batches');
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe('GET, POST');
  });
});

describe('API keys', () => {
  it('are made, listed and revoked; a revoked one opens nothing', async () => {
    const expires_at = new Date(Date.now() + 86_400_000).toISOString();
    const made = await run.callAsOperator('POST', '/keys', {
      body: { project_id: 'keys-project', role: 'viewer', name: 'CI', expires_at },
    });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ project_id: 'keys-project', role: 'viewer', expires_at, revoked_at: null });
    const { id, key } = made.body;
    expect((await run.call('GET', '/batches', { key })).status).toBe(200);

    const list = await run.callAsOperator('GET', '/keys?project_id=keys-project');
    expect(list.body).toMatchObject({ keys: [{ id, name: 'CI' }], has_more: false });
    expect(JSON.stringify(list.body)).not.toContain(key);

    const revoked = await run.callAsOperator('DELETE', `/keys/${id}`);
    expect(revoked).toMatchObject({ status: 200, body: { id, revoked_at: expect.stringMatching(TIME) } });
    expect((await run.callAsOperator('DELETE', `/keys/${id}`)).body).toEqual(revoked.body);
    expectError(await run.call('GET', '/batches', { key }), 401, 'unauthorized');
  });

  it('are refused with every wrong field named', async () => {
    const wrong = { project_id: 'a/b', role: 'root', expires_at: 'tomorrow', more: 1 };
    const answer = await run.callAsOperator('POST', '/keys', { body: wrong });
    expectError(answer, 400, 'invalid_request');
    expect(params(answer)).toEqual(['project_id', 'role', 'name', 'expires_at', 'more']);
    const past = { project_id: 'a', role: 'owner', name: 'x', expires_at: '2020-01-01T00:00:00Z' };
    expect(params(await run.callAsOperator('POST', '/keys', { body: past }))).toEqual(['expires_at']);
    expectError(await run.callAsOperator('DELETE', '/keys/key_1'), 404, 'not_found');
  });
});

describe('a body that is refused', () => {
  const json = { 'content-type': 'application/json' };

  it('is not JSON', async () => {
    for (const text of ['{', 'null]', '"\\'])
      expectError(await run.call('POST', '/batches', { body: text, headers: json }), 400, 'invalid_request');
  });

  it('is not JSON by its type', async () => {
    const headers = { 'content-type': 'text/plain' };
    const text = JSON.stringify(body);
    expectError(await run.call('POST', '/batches', { body: text, headers }), 415, 'unsupported_media_type');
  });

  it('is too large', async () => {
    const large = { ...body, description: 'x'.repeat(1024 * 1024) };
    expectError(await run.call('POST', '/batches', { body: large }), 413, 'payload_too_large');
  });

  it('has missing, wrong and unknown fields: each is named', async () => {
    const wrong = { name: '', type: 'CHAT', callback_url: 'mailto:a@b', dry_run: true, completion_window: '8d' };
    const answer = await run.call('POST', '/batches', { body: wrong });
    expectError(answer, 400, 'invalid_request');
    expect(params(answer).sort()).toEqual(
      ['name', 'type', 'input_file_url', 'callback_url', 'dry_run', 'completion_window'].sort(),
    );
    for (const none of ['[]', 'null', '7']) {
      expect(params(await run.call('POST', '/batches', { body: none, headers: json }))).toEqual(['body']);
    }
  });

  it('names an upload that this project does not have', async () => {
    const { key } = await makeKey();
    const upload = await run.call('POST', '/files', { key, body: { bytes: 10 } });
    const wrong = { ...body, input_file_url: upload.body.input_file_url };
    expect(params(await run.call('POST', '/batches', { body: wrong }))).toEqual(['input_file_url']);
  });

  it('asks for an upload of no size, too much or unknown kind', async () => {
    for (const bytes of [0, -1, 1.5, '1', 6 * 1024 ** 3])
      expect(params(await run.call('POST', '/files', { body: { bytes } }))).toEqual(['bytes']);
    const kind = { bytes: 1, content_type: 'jsonl' };
    expect(params(await run.call('POST', '/files', { body: kind }))).toEqual(['content_type']);
  });
});

describe('input by force', () => {
  it('comes back as it went in, through the whole stack', async () => {
    const sent = {
      ...body,
      name: '\0\u2028🌱',
      description: '🌱'.repeat(4096),
      metadata: { constructor: '\0', toString: '\u2029', '\ufeff': '\uffff', '10': '9007199254740993' },
    };
    const made = await run.call('POST', '/batches', { body: sent });
    expect(made.status).toBe(201);
    const kept = await run.call('GET', `/batches/${made.body.id}`);
    for (const answer of [made, kept]) {
      const { name, description, metadata } = answer.body;
      expect({ name, description, metadata }).toEqual({
        name: sent.name,
        description: sent.description,
        metadata: sent.metadata,
      });
    }
  });

  it.each([
    ['"description":"\\ud800"', 'description'],
    ['"metadata":{"a":"\\udfff"}', 'metadata.a'],
    ['"metadata":{"__proto__":"a"}', '__proto__'],
    ['"metadata":{"a":9007199254740993}', 'metadata.a'],
    [`"metadata":${'['.repeat(2311)}${']'.repeat(2311)}`, 'body'],
  ])('with %s is refused by name', async (more, param) => {
    const text = `${JSON.stringify(body).slice(0, -1)},${more}}`;
    const answer = await run.call('POST', '/batches', { body: text, headers: { 'content-type': 'application/json' } });
    expectError(answer, 400, 'invalid_request');
    expect(params(answer)).toEqual([param]);
  });

  it('of exactly as many bytes as a body may have is taken, of one more it is not', async () => {
    const text = JSON.stringify(body);
    const headers = { 'content-type': 'application/json' };
    const whole = text + ' '.repeat(1024 * 1024 - text.length);
    expect((await run.call('POST', '/batches', { body: whole, headers })).status).toBe(201);
    expectError(await run.call('POST', '/batches', { body: `${whole} `, headers }), 413, 'payload_too_large');
  });

  it.each([
    ['GET /batches/%', 404],
    ['GET /batches/%zz%00', 404],
    ['GET /batches/%ed%a0%80', 404],
    ['GET /batches/..%2fkeys', 404],
    ['GET /batches/%00/receipt', 404],
    ['GET /batches?take=%&%=%ff', 400],
    ['GET /batches?__proto__=1', 400],
    ['GET //', 404],
    ['GET *', 404],
    ['GET /health?a=1', 400],
    [`GET /batches/${'b'.repeat(11_000)}`, 431],
  ])('as the request line %s is answered', async (line, status) => {
    expect(await sendRaw(`${line} HTTP/1.1`)).toBe(status);
  });

  it('as headers that are too large is answered by the gateway', async () => {
    expect(await sendRaw(`GET /health HTTP/1.1\r\nx-large: ${'x'.repeat(11_000)}`)).toBe(431);
  });

  /** The status of the answer to this beginning of a request, byte for byte. */
  function sendRaw(start: string): Promise<number> {
    const { hostname, port } = new URL(run.url);
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      const socket = connect(Number(port), hostname, () =>
        socket.write(`${start}\r\nhost: a\r\nauthorization: Bearer ${run.apiKey}\r\nconnection: close\r\n\r\n`),
      );
      socket.on('error', reject);
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('end', () => {
        socket.destroy();
        resolve(Number(Buffer.concat(chunks).toString('latin1').split(' ')[1]));
      });
    });
  }
});

describe('making a batch', () => {
  it('answers the whole batch object', async () => {
    const sent = { ...body, description: 'Spring 🌱', metadata: { team: 'wéb' }, completion_window: '90m' };
    const answer = await run.call('POST', '/batches', { body: sent });
    expect(answer.status).toBe(201);
    const { id, created_at, updated_at, expires_at, ...rest } = answer.body;
    expect(id).toMatch(/^batch_[0-9A-Z]{26}$/);
    expect(created_at).toMatch(TIME);
    expect(updated_at).toBe(created_at);
    expect(Date.parse(expires_at) - Date.parse(created_at)).toBe(90 * 60_000);
    expect(rest).toEqual({
      ...sent,
      status: 'validating',
      project_id: run.projectId,
      delivered_at: null,
      has_output_file: false,
      has_errors_file: false,
      errors: [],
      request_counts: { total: 0, completed: 0, failed: 0 },
      usage: null,
      in_progress_at: null,
      finalizing_at: null,
      completed_at: null,
      failed_at: null,
      expired_at: null,
      cancelling_at: null,
      cancelled_at: null,
      files_expire_at: null,
      delivery: null,
      retry_of: null,
    });
  });

  it('with an idempotency key makes it once', async () => {
    const headers = { 'idempotency-key': 'create-once' };
    const first = await run.call('POST', '/batches', { body, headers });
    expect(first.status).toBe(201);
    const again = await run.call('POST', '/batches', { body: { ...body, description: null }, headers });
    expect(again.status).toBe(200);
    expect(again.body.id).toBe(first.body.id);
    expectError(await run.call('POST', '/batches', { body: { ...body, name: 'x' }, headers }), 409, 'conflict');
    const { key } = await makeKey();
    expect((await run.call('POST', '/batches', { body, headers, key })).status).toBe(201);
    const bad = { 'idempotency-key': 'k'.repeat(256) };
    expect(params(await run.call('POST', '/batches', { body, headers: bad }))).toEqual(['Idempotency-Key']);
  });
});

describe('another project’s batch', () => {
  it('is a 404 in every way, like one that never was', async () => {
    const { body: mine } = await run.call('POST', '/batches', { body });
    const { key } = await makeKey();
    for (const id of [mine.id, UNKNOWN_BATCH, 'batch_1', '%2e%2e', mine.id.toLowerCase()]) {
      expectError(await run.call('GET', `/batches/${id}`, { key }), 404, 'not_found');
      expectError(await run.call('GET', `/batches/${id}/download`, { key }), 404, 'not_found');
    }
    expect((await run.call('GET', '/batches', { key })).body.batches).not.toContainEqual(
      expect.objectContaining({ id: mine.id }),
    );
  });
});

describe('the list of batches', () => {
  it.each([
    'take=0',
    'take=101',
    'take=ten',
    'skip=-1',
    'skip=1.5',
    'skip=10001',
    'order=up',
    'status=done',
    'after=batch_1',
    'page=1',
    'take=1&take=2',
    `skip=1&after=${UNKNOWN_BATCH}`,
  ])('is refused for ?%s', async (query) => {
    const answer = await run.call('GET', `/batches?${query}`);
    expectError(answer, 400, 'invalid_request');
    expect(query.includes(params(answer)[0] ?? '?')).toBe(true);
  });

  it('is paged by skip and take or after, in both orders, and filtered by status', async () => {
    const { key } = await makeKey({ project_id: 'lister' });
    const client = createBatchClient(run.url, key);
    const ids: string[] = [];
    for (let i = 0; i < 7; i++) ids.push((await client.create({ ...body, name: `batch ${i}` })).id);
    const list = async (query: string) => {
      const answer = await run.call('GET', `/batches${query}`, { key });
      expect(answer.status).toBe(200);
      const { batches, has_more } = answer.body as { batches: { id: string }[]; has_more: boolean };
      return { ids: batches.map((batch) => batch.id), has_more };
    };
    const newest = [...ids].reverse();
    expect(await list('')).toEqual({ ids: newest, has_more: false });
    expect(await list('?order=asc&take=3')).toEqual({ ids: ids.slice(0, 3), has_more: true });
    expect(await list('?skip=5&take=2')).toEqual({ ids: newest.slice(5), has_more: false });
    expect(await list('?skip=2&take=2')).toEqual({ ids: newest.slice(2, 4), has_more: true });
    expect(await list('?skip=100')).toEqual({ ids: [], has_more: false });
    expect(await list(`?after=${newest[1]}&take=2`)).toEqual({ ids: newest.slice(2, 4), has_more: true });
    expect(await list(`?after=${ids[4]}&order=asc`)).toEqual({ ids: ids.slice(5), has_more: false });
    for (const id of ids) await client.untilEnded(id);
    expect(await list('?status=failed&skip=1&take=3')).toEqual({ ids: newest.slice(1, 4), has_more: true });
    expect(await list('?status=completed')).toEqual({ ids: [], has_more: false });
    const { body: page } = await run.call('GET', '/batches?take=1', { key });
    expect(page.batches[0]).toMatchObject({ name: 'batch 6', metadata: {}, description: null });
    expect(page.batches[0]).not.toHaveProperty('errors');
  });
});

describe('files', () => {
  const line = (id: string) =>
    `${JSON.stringify({ custom_id: id, method: 'POST', url: '/agents/a/invoke', body: { input: `prompt ${id}` } })}\n`;

  it('go up by a pre-signed PUT of the announced size and come down by pre-signed URLs', async () => {
    const content = line('a') + line('b');
    const bytes = Buffer.byteLength(content);
    const { status, body: upload } = await run.call('POST', '/files', { body: { bytes } });
    expect(status).toBe(201);
    expect(upload).toEqual({
      id: expect.stringMatching(/^file_[0-9A-Z]{26}$/),
      upload_url: expect.stringMatching(/^http/),
      input_file_url: `file://${upload.id}`,
      expires_at: expect.stringMatching(TIME),
    });
    const put = (text: string, url: string = upload.upload_url) =>
      fetch(url, { method: 'PUT', body: text, headers: { 'content-type': 'application/jsonl' } });
    expect((await put(`${content}\n`)).ok).toBe(false);
    expect((await put(content, upload.upload_url.replace(/Signature=.{8}/, 'Signature=00000000'))).status).toBe(403);
    expect((await put(content)).status).toBe(200);

    const client = createBatchClient(run.url, run.apiKey);
    const batch = await client.create({ ...body, input_file_url: upload.input_file_url });
    const early = await run.call('GET', `/batches/${batch.id}/download`);
    if (early.status !== 200) expectError(early, 409, 'conflict');
    const ended = await client.untilEnded(batch.id);
    expect(ended).toMatchObject({ status: 'completed', has_output_file: true, has_errors_file: false });
    const { body: files } = await run.call('GET', `/batches/${batch.id}/download`);
    expect(files).toEqual({
      output_file_url: expect.stringMatching(/^http/),
      errors_file_url: null,
      expires_at: expect.stringMatching(TIME),
    });
    const download = await fetch(files.output_file_url);
    expect(download.headers.get('content-disposition')).toContain(`${batch.id}-output.jsonl`);
    expect((await download.text()).trim().split('\n')).toHaveLength(2);
  });

  it('a second PUT changes nothing of a batch that has read the first, and its retry is refused', async () => {
    const client = createBatchClient(run.url, run.apiKey);
    const content = `${line('a')}no JSON\n`;
    const { body: upload } = await run.call('POST', '/files', { body: { bytes: Buffer.byteLength(content) } });
    const put = (text: string) => fetch(upload.upload_url, { method: 'PUT', body: text });
    expect((await put(content)).status).toBe(200);
    const fields = { ...body, input_file_url: upload.input_file_url, on_invalid_line: 'skip' };
    const { id } = await client.create(fields);
    expect(await client.untilEnded(id)).toMatchObject({ status: 'completed', request_counts: { failed: 1 } });
    const before = await client.results(id);
    const other = content.replace('prompt a', 'prompt b');
    expect((await put(other)).status).toBe(200);
    expect(await client.results(id)).toEqual(before);
    const retry = await run.call('POST', `/batches/${id}/retry`);
    expectError(retry, 409, 'conflict');
    expect(retry.body.message).toMatch(/no longer there, or has been replaced/);
    // What was read is pinned by what it holds: the same bytes again are the same file.
    expect((await put(content)).status).toBe(200);
    expect((await run.call('POST', `/batches/${id}/retry`)).status).toBe(201);
  });

  it.each(['a/b', '../a', 'a/../b', 'a%2Fb', 'a#b', 'a b', 'ä', '.a', '', 'a'.repeat(129)])(
    'no project is named %j, so that its prefix could reach into another’s',
    async (project_id) => {
      const answer = await run.callAsOperator('POST', '/keys', { body: { project_id, role: 'owner', name: 'x' } });
      expectError(answer, 400, 'invalid_request');
      expect(params(answer)).toEqual(['project_id']);
    },
  );

  it('of a batch that ended without any are null', async () => {
    const client = createBatchClient(run.url, run.apiKey);
    const batch = await client.create(body);
    const ended = await client.untilEnded(batch.id);
    expect(ended).toMatchObject({
      status: 'failed',
      has_output_file: false,
      errors: [{ code: 'input_file_unreachable', line: null, param: 'input_file_url' }],
    });
    const { status, body: files } = await run.call('GET', `/batches/${batch.id}/download`);
    expect(status).toBe(200);
    expect(files).toEqual({ output_file_url: null, errors_file_url: null, expires_at: null });
  });
});

describe('GET /batches/check-batches', () => {
  it('answers what it did', async () => {
    const answer = await run.callAsOperator('GET', '/batches/check-batches');
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      checked: expect.any(Number),
      expired: expect.any(Number),
      recovered: expect.any(Number),
      failed: expect.any(Number),
      notified: expect.any(Number),
      unchanged: expect.any(Number),
      has_more: expect.any(Boolean),
      batches: expect.any(Array),
    });
  });
});
