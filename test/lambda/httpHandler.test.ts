import { describe, expect, it } from 'vitest';
import type { ApiAnswer, ApiRequest } from '../../shared/contract/api.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import { ApiError } from '../../shared/domain/errors.ts';
import type { Role } from '../../shared/domain/roles.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { httpEvent, lambdaContext, type Sent } from '../support/httpEvents.ts';
import { recordedLog } from '../support/recordedLog.ts';

const MIB = 1024 * 1024;
const upload = {
  id: 'file_1',
  upload_url: 'https://example.com/signed',
  input_file_url: 'file://file_1',
  expires_at: '2026-01-15T10:30:00.000Z',
};

/** POST /files with what `run` does, called by whom `role` says. */
function filesRoute(
  run: (request: ApiRequest<'createUpload'>) => Promise<ApiAnswer<'createUpload'>> = async () => ({
    status: 201,
    body: upload,
  }),
  role: Role = 'owner',
  requestBodyBytes = 1000,
  admit: () => Promise<void> = async () => undefined,
) {
  const settings = SettingsSchema.parse({ limits: { requestBodyBytes } });
  const log = recordedLog();
  const authenticate = async (authorization: string | undefined) => {
    if (authorization !== 'Bearer good') throw new ApiError('unauthorized', 'No.');
    return { projectId: 'acme', role };
  };
  const handler = httpHandler('createUpload', { settings, log, authenticate, admit }, run);
  const send = async (sent: Sent) => {
    const event = httpEvent('createUpload', { ...sent, headers: { authorization: 'Bearer good', ...sent.headers } });
    const result = await handler(event, lambdaContext());
    return { status: result.statusCode, headers: result.headers ?? {}, body: JSON.parse(result.body ?? 'null') };
  };
  return { send, log, handler };
}

describe('a request', () => {
  it('reaches the use case checked', async () => {
    let seen: unknown;
    const { send } = filesRoute(async (request) => {
      seen = request.body;
      return { status: 201, body: upload };
    });
    const answer = await send({ body: { bytes: 5 } });
    expect(answer).toMatchObject({ status: 201, body: upload });
    expect(seen).toEqual({ bytes: 5 });
  });

  it('may come as base64, as the gateway sends bodies of types it does not know', async () => {
    const { send } = filesRoute();
    const headers = { 'content-type': 'application/merge+json' };
    expect(await send({ body: { bytes: 5 }, base64: true, headers })).toMatchObject({ status: 201 });
  });

  it('is looked at in order: caller, role, type, size, JSON, fields', async () => {
    const nothingIsRight: Sent = { headers: { authorization: '', 'content-type': 'text/plain' }, rawBody: '{' };
    expect(await filesRoute().send(nothingIsRight)).toMatchObject({ status: 401 });
    const known = { ...nothingIsRight, headers: { 'content-type': 'text/plain' } };
    expect(await filesRoute(undefined, 'member').send(known)).toMatchObject({ status: 403 });
    expect(await filesRoute().send(known)).toMatchObject({ status: 415, body: { error: 'unsupported_media_type' } });
  });

  it('beyond the quota of its project is a 429 that says when to come again, and its line of log names the project', async () => {
    const { handler, log } = filesRoute(undefined, 'viewer', 1000, async () => {
      throw new ApiError('rate_limit_exceeded', 'Too many.', { headers: { 'Retry-After': '7' } });
    });
    const event = httpEvent('createUpload', { rawBody: '{', headers: { authorization: 'Bearer good' } });
    const answer = await handler(event, lambdaContext());
    expect(answer).toMatchObject({ statusCode: 429, headers: { 'Retry-After': '7' } });
    expect(JSON.parse(answer.body ?? 'null')).toEqual({
      error: 'rate_limit_exceeded',
      message: 'Too many.',
      code: 429,
      retry_after: 7,
    });
    expect(log.lines).toContainEqual(
      expect.objectContaining({ fields: expect.objectContaining({ project_id: 'acme' }) }),
    );
  });

  it.each(['viewer', 'member'] as const)('of a %s that manages is a 403', async (role) => {
    const answer = await filesRoute(undefined, role).send({ body: { bytes: 5 } });
    expect(answer).toMatchObject({ status: 403, body: { error: 'forbidden', code: 403 } });
  });

  it.each([
    ['text/plain'],
    [''],
    ['application/x-www-form-urlencoded'],
    ['application/json; charset=latin1'],
    ['application/jsonl'],
  ])('of the type "%s" is a 415', async (type) => {
    const answer = await filesRoute().send({ body: { bytes: 5 }, headers: { 'content-type': type } });
    expect(answer).toMatchObject({ status: 415, body: { error: 'unsupported_media_type', code: 415 } });
  });

  it.each(['application/json', 'Application/JSON; charset=UTF-8', 'application/json;charset="utf-8"'])(
    'of the type %s is taken',
    async (type) => {
      expect(await filesRoute().send({ body: { bytes: 5 }, headers: { 'content-type': type } })).toMatchObject({
        status: 201,
      });
    },
  );

  it('over the limit is a 413, counted in bytes', async () => {
    const answer = await filesRoute().send({ body: { bytes: 5, content_type: 'ü'.repeat(500) } });
    expect(answer).toMatchObject({ status: 413, body: { error: 'payload_too_large', code: 413 } });
  });

  it.each(['{"bytes":5,"__proto__":{}}', '{"bytes":{"__proto__":1}}'])(
    'with a field named __proto__, as %s, is told so',
    async (rawBody) => {
      const answer = await filesRoute().send({ rawBody, headers: { 'content-type': 'application/json' } });
      expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request', code: 400 } });
      expect(answer.body.message).toBe('The request is not valid: see __proto__.');
      expect(answer.body.details).toEqual([{ param: '__proto__', message: 'is not allowed as the name of a field' }]);
    },
  );

  it.each(['', '{', 'hello', '{"bytes":5}}'])('with the body %j is not JSON of ours: 400', async (rawBody) => {
    const answer = await filesRoute().send({ rawBody, headers: { 'content-type': 'application/json' } });
    expect(answer).toMatchObject({
      status: 400,
      body: { error: 'invalid_request', code: 400, details: [{ param: 'body' }] },
    });
  });

  describe('to a route whose body may be left out', () => {
    const settings = SettingsSchema.parse({});
    const authenticate = async () => ({ projectId: 'acme', role: 'owner' as const });
    const deps = { settings, log: recordedLog(), authenticate, admit: async () => undefined };
    const send = async (sent: Sent) => {
      let seen: unknown;
      const handler = httpHandler('retryBatch', deps, async ({ body }) => {
        seen = body;
        throw new ApiError('conflict', 'Seen.');
      });
      const result = await handler(httpEvent('retryBatch', { params: { batch_id: 'b' }, ...sent }), lambdaContext());
      return { status: result.statusCode, seen };
    };

    it.each<[string, Sent]>([
      ['neither body nor type', {}],
      ['a type and no body', { rawBody: '', headers: { 'content-type': 'application/json' } }],
      ['a type of something else and no body', { headers: { 'content-type': 'application/x-www-form-urlencoded' } }],
      ['an empty object', { body: {} }],
    ])('is taken with %s', async (_, sent) => {
      expect(await send(sent)).toEqual({ status: 409, seen: { merge: false } });
    });

    it.each<[string, Sent, number]>([
      ['no type', { rawBody: '{}' }, 415],
      ['no JSON', { rawBody: ' ', headers: { 'content-type': 'application/json' } }, 400],
      ['null', { rawBody: 'null', headers: { 'content-type': 'application/json' } }, 400],
    ])('is checked as ever where it has a body: of %s', async (_, sent, status) => {
      expect(await send(sent)).toEqual({ status, seen: undefined });
    });
  });

  it('in broken UTF-8 is a 400', async () => {
    const { handler } = filesRoute();
    const event = httpEvent('createUpload', {
      headers: { authorization: 'Bearer good', 'content-type': 'application/json' },
    });
    const body = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString('base64');
    const result = await handler({ ...event, body, isBase64Encoded: true }, lambdaContext());
    expect(result.statusCode).toBe(400);
  });

  it('with very many faults is answered with the first 100, and how many more there are', async () => {
    const body = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`f${i.toString(36)}`, 1]));
    const { send } = filesRoute(undefined, 'owner', MIB);
    const answer = await send({ body: { bytes: 5, ...body } });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect(answer.body.details).toHaveLength(100);
    expect(answer.body.details[99]).toEqual({ param: 'f2r', message: 'is not known here' });
    expect(answer.body.message).toBe(
      'The request is not valid: see f0, f1, f2, f3, f4. 99900 more faults are not listed.',
    );
  });

  it('with a field of a very long name is answered with how the name starts', async () => {
    const { send } = filesRoute(undefined, 'owner', MIB);
    const answer = await send({ body: { bytes: 5, ['"'.repeat(500_000)]: 1 } });
    expect(answer.status).toBe(400);
    expect(answer.body.details).toEqual([{ param: `${'"'.repeat(199)}…`, message: 'is not known here' }]);
    expect(answer.body.message.length).toBeLessThan(300);
  });

  it('with an unknown or repeated query parameter is a 400 that names it', async () => {
    const unknown = await filesRoute().send({ body: { bytes: 5 }, query: 'dry_run=true' });
    expect(unknown.body).toMatchObject({ code: 400, details: [{ param: 'dry_run', message: 'is not known here' }] });
    const repeated = await filesRoute().send({ body: { bytes: 5 }, query: 'a=1&a=2' });
    expect(repeated.body).toMatchObject({ code: 400, details: [{ param: 'a', message: 'must be given once' }] });
  });
});

describe('an answer', () => {
  it('is JSON that no browser sniffs, frames or caches', async () => {
    const { headers } = await filesRoute().send({ body: { bytes: 5 } });
    expect(headers).toMatchObject({
      'Content-Type': 'application/json; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
    });
  });

  it('holds only what its schema names', async () => {
    const { send } = filesRoute(async () => ({ status: 201, body: { ...upload, secret: 'x' } }));
    expect((await send({ body: { bytes: 5 } })).body).toEqual(upload);
  });

  it('that its schema refuses is a 500 that says nothing', async () => {
    const { send } = filesRoute(async () => ({ status: 201, body: { ...upload, expires_at: 'soon' } }));
    const answer = await send({ body: { bytes: 5 } });
    expect(answer.status).toBe(500);
    expect(JSON.stringify(answer.body)).not.toContain('expires_at');
  });

  it('to a fault of ours is a 500 with the request id, and the log has the cause', async () => {
    const { send, log } = filesRoute(async () => {
      throw new TypeError('table is on fire');
    });
    const answer = await send({ body: { bytes: 5 } });
    expect(answer).toMatchObject({ status: 500 });
    expect(answer.body).toEqual({
      error: 'internal_error',
      message: 'Something went wrong on our side.',
      code: 500,
      request_id: 'lambda-request',
    });
    expect(log.lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        fields: expect.objectContaining({
          request_id: 'lambda-request',
          project_id: 'acme',
          error: expect.objectContaining({ message: 'table is on fire' }),
        }),
      }),
    );
  });

  it('is logged with its status and whose it is, by route and ids: not by its path, query or headers', async () => {
    const { send, log, handler } = filesRoute();
    await send({ body: { bytes: 5 }, query: '' });
    const ids = {
      request_id: 'lambda-request',
      api_request_id: 'gateway-request',
      method: 'POST',
      route: 'POST /files',
      project_id: 'acme',
      batch_id: undefined,
      key_id: undefined,
    };
    expect(log.lines).toEqual([{ level: 'info', message: 'request', fields: { ...ids, status: 201 } }]);
    const event = httpEvent('createUpload', {
      path: '/files/canary',
      query: 'X-Amz-Signature=canary',
      headers: { authorization: 'Bearer canary' },
      params: { batch_id: 'canary', key_id: 'canary' },
      body: { bytes: 'canary' },
    });
    expect(await handler(event, lambdaContext())).toMatchObject({ statusCode: 401 });
    expect(log.lines[1]?.fields).toEqual({ ...ids, project_id: undefined, status: 401 });
  });

  it('that is late is still one of ours', async () => {
    const { handler } = filesRoute(() => new Promise(() => undefined));
    const event = httpEvent('createUpload', { body: { bytes: 5 }, headers: { authorization: 'Bearer good' } });
    // 500 ms before the end the stack answers by itself: here that is at once.
    const result = await handler(event, lambdaContext(500));
    expect(JSON.parse(result.body ?? '')).toMatchObject({ error: 'internal_error', code: 500 });
  });

  it('that Lambda could not carry is a fault of ours, in our own shape', async () => {
    const { send } = filesRoute(async () => ({ status: 201, body: { ...upload, upload_url: '"'.repeat(2_000_000) } }));
    expect((await send({ body: { bytes: 5 } })).body).toMatchObject({ error: 'internal_error', code: 500 });
  });

  it('of several MB is carried', async () => {
    const { send } = filesRoute(async () => ({ status: 201, body: { ...upload, upload_url: 'x'.repeat(5_800_000) } }));
    expect(await send({ body: { bytes: 5 } })).toMatchObject({ status: 201 });
  });

  it('of 429 says when to come again', async () => {
    const { send } = filesRoute(async () => {
      throw new ApiError('rate_limit_exceeded', 'Slowly.', { headers: { 'Retry-After': '7' } });
    });
    const answer = await send({ body: { bytes: 5 } });
    expect(answer.headers).toMatchObject({ 'Retry-After': '7' });
    expect(answer.body).toEqual({
      error: 'rate_limit_exceeded',
      message: 'Slowly.',
      code: 429,
      retry_after: 7,
    });
  });

  it('leaves a line in the log that has ids and no contents', async () => {
    const { send, log } = filesRoute();
    await send({ body: { bytes: 5 } });
    const text = JSON.stringify(log.lines);
    expect(text).toContain('acme');
    for (const private_ of ['Bearer', 'good', 'signed', 'bytes']) expect(text).not.toContain(private_);
  });
});
