import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { InvocationResult } from '../../../local/functions/invocation.ts';
import type { HttpEvent } from '../../../local/http/event.ts';
import { type HttpApi, startHttpApi } from '../../../local/http/server.ts';
import type { RoutePlan } from '../../../local/template/plan.ts';

let api: HttpApi | undefined;
afterEach(async () => {
  await api?.close();
  api = undefined;
});

const route = (method: string, path: string, timeoutMs = 30_000): RoutePlan => ({
  method,
  path,
  functionArn: `${method} ${path}`,
  timeoutMs,
});
const ROUTES = [
  route('ANY', '$default'),
  route('GET', '/batches/{batch_id}'),
  route('GET', '/batches/check-batches'),
  route('GET', '/batches/{batch_id}/download'),
  route('POST', '/batches'),
  route('GET', '/files/{path+}'),
];

/** Serves the routes; every function answers its event and its name, unless `answer` says otherwise. */
async function serve(
  answer: (event: HttpEvent) => unknown = (event) => event,
  routes: RoutePlan[] = ROUTES,
): Promise<string> {
  api = await startHttpApi({
    port: 0,
    routes,
    invoke: async (functionArn, event): Promise<InvocationResult> => {
      // The gateway hands its own event to the function.
      const made = answer({ ...(event as HttpEvent), functionArn } as HttpEvent & { functionArn: string });
      return made instanceof Error
        ? { error: { errorType: made.name, errorMessage: made.message } }
        : { payload: await made };
    },
  });
  return api.url;
}

const getJson = async (url: string, init?: RequestInit) =>
  (await fetch(url, init)).json() as Promise<HttpEvent & { functionArn: string }>;

describe('a route', () => {
  it.each([
    ['GET', '/batches/batch_1', 'GET /batches/{batch_id}', { batch_id: 'batch_1' }],
    ['GET', '/batches/check-batches', 'GET /batches/check-batches', undefined],
    ['GET', '/batches/a%20b/download', 'GET /batches/{batch_id}/download', { batch_id: 'a b' }],
    ['GET', '/files/a/b/c', 'GET /files/{path+}', { path: 'a/b/c' }],
    ['POST', '/batches', 'POST /batches', undefined],
    ['DELETE', '/batches', 'ANY $default', undefined],
    ['GET', '/batches/', 'ANY $default', undefined],
    ['GET', '/', 'ANY $default', undefined],
  ])('%s %s is %s', async (method, path, functionArn, pathParameters) => {
    const event = await getJson((await serve()) + path, { method });
    expect(event.functionArn).toBe(functionArn);
    expect(event.pathParameters).toEqual(pathParameters);
    expect(event.routeKey).toBe(functionArn === 'ANY $default' ? '$default' : functionArn);
  });

  it('that is missing, with no default, is the gateway’s 404', async () => {
    const answer = await fetch(`${await serve(undefined, [route('GET', '/only')])}/other`);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toEqual({ message: 'Not Found' });
  });
});

describe('an event', () => {
  it('has query, headers and cookies as format 2.0 has them', async () => {
    const event = await getJson(`${await serve()}/batches/x?a=1&a=2&b=c%20d+e&empty=`, {
      headers: [
        ['X-Twice', '1'],
        ['X-Twice', '2'],
        ['Cookie', 'one=1; two=2'],
      ],
    });
    expect(event).toMatchObject({
      version: '2.0',
      rawPath: '/batches/x',
      rawQueryString: 'a=1&a=2&b=c%20d+e&empty=',
      queryStringParameters: { a: '1,2', b: 'c d e', empty: '' },
      cookies: ['one=1', 'two=2'],
      isBase64Encoded: false,
      requestContext: {
        http: { method: 'GET', path: '/batches/x', protocol: 'HTTP/1.1', sourceIp: '127.0.0.1' },
        stage: '$default',
        time: expect.stringMatching(/^\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000$/),
        requestId: expect.any(String),
      },
    });
    expect(event.headers['x-twice']).toMatch(/^1, ?2$/);
    expect(event.headers.cookie).toBeUndefined();
    expect(event.body).toBeUndefined();
  });

  it.each([
    ['application/json', '{"ä":1}', '{"ä":1}', false],
    ['text/plain; charset=utf-8', 'text', 'text', false],
    ['application/x-www-form-urlencoded', 'a=1', 'YT0x', true],
    ['application/octet-stream', 'raw', 'cmF3', true],
  ])('carries a body of %s', async (type, sent, body, isBase64Encoded) => {
    const event = await getJson(`${await serve()}/batches`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: sent,
    });
    expect(event).toMatchObject({ body, isBase64Encoded });
  });
});

describe('an answer', () => {
  it('carries status, headers, cookies and body', async () => {
    const url = await serve(() => ({
      statusCode: 201,
      headers: { 'Content-Type': 'application/json', 'X-Number': 7 },
      cookies: ['a=1', 'b=2'],
      body: '{}',
    }));
    const answer = await fetch(`${url}/`);
    expect(answer.status).toBe(201);
    expect(answer.headers.get('x-number')).toBe('7');
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(await answer.text()).toBe('{}');
  });

  it('decodes a base64 body', async () => {
    const url = await serve(() => ({ statusCode: 200, body: '/wD+', isBase64Encoded: true }));
    expect(new Uint8Array(await (await fetch(`${url}/`)).arrayBuffer())).toEqual(new Uint8Array([255, 0, 254]));
  });

  it('is the JSON body of a 200 where it has no status', async () => {
    const answer = await fetch(`${await serve(() => ({ plain: 'object' }))}/`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(await answer.json()).toEqual({ plain: 'object' });
  });

  it('without a body has none', async () => {
    const answer = await fetch(`${await serve(() => ({ statusCode: 204 }))}/`);
    expect(answer.status).toBe(204);
    expect(await answer.text()).toBe('');
  });

  it.each([
    ['a failed function', () => new Error('secret detail')],
    ['a status that is none', () => ({ statusCode: 'many' })],
    ['a body that is no text', () => ({ statusCode: 200, body: { a: 1 } })],
  ])('of %s is the gateway’s 500, and tells nothing', async (_, answer) => {
    const got = await fetch(`${await serve(answer)}/`);
    expect(got.status).toBe(500);
    expect(await got.json()).toEqual({ message: 'Internal Server Error' });
  });

  it('that takes too long is a 503', async () => {
    const url = await serve(() => new Promise(() => {}), [route('GET', '/slow', 20)]);
    const got = await fetch(`${url}/slow`);
    expect(got.status).toBe(503);
    expect(await got.json()).toEqual({ message: 'Service Unavailable' });
  });
});

describe('limits of the gateway', () => {
  it('a body over 10 MB is a 413', async () => {
    const got = await fetch(`${await serve()}/batches`, { method: 'POST', body: Buffer.alloc(10 * 1024 * 1024 + 1) });
    expect(got.status).toBe(413);
    expect(await got.json()).toEqual({ message: 'Request Entity Too Large' });
  });

  it('an event that Lambda does not take is a 413', async () => {
    const tooLarge = Object.assign(new Error('too large'), { name: 'Lambda.RequestTooLargeException' });
    expect((await fetch(`${await serve(() => tooLarge)}/`)).status).toBe(413);
  });

  it('headers over 10 KB are a 431', async () => {
    const got = await fetch(`${await serve()}/`, { headers: { 'x-long': 'x'.repeat(11_000) } });
    expect(got.status).toBe(431);
  });

  it('a client that goes away in the middle of its body harms nobody else', async () => {
    const url = await serve();
    const { port } = new URL(url);
    await new Promise<void>((resolve) => {
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write('POST /batches HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf', () => socket.destroy());
      });
      socket.on('close', () => resolve());
    });
    expect((await fetch(`${url}/batches/x`)).status).toBe(200);
  });
});
