import type { RequestListener } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { readJsonDocument } from '../../../shared/adapters/net/jsonDocument.ts';
import { startWebServer, TEST_CA, type WebServer } from '../../support/webServer.ts';

const LIMITS = { allowPrivateNetworks: true, timeoutMs: 30_000, maxBytes: 100 };

let server: WebServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});
async function serve(listener: RequestListener): Promise<string> {
  server = await startWebServer(listener);
  return `${server.url}/keys?secret=1`;
}
const failure = async (url: string, options = LIMITS) => {
  const error = await readJsonDocument(url, options).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ name: 'DocumentUnreadable' });
  const { message } = error as Error;
  expect(message).not.toContain('secret');
  return message;
};

test('a document is read whole, by a connection that is closed after it', async () => {
  const url = await serve((_, response) => response.end('{"keys":[]}'));
  expect(await readJsonDocument(url, LIMITS)).toEqual({ keys: [] });
  expect(await readJsonDocument(url, LIMITS)).toEqual({ keys: [] });
  expect(server).toMatchObject({ connections: 2, requests: ['GET /keys?secret=1', 'GET /keys?secret=1'] });
});

describe('what is no document', () => {
  test.each<[string, RequestListener, string]>([
    ['an error', (_, response) => response.writeHead(404).end('{}'), 'it answered 404'],
    ['an answer without a body', (_, response) => response.writeHead(204).end(), 'it answered 204'],
    ['no JSON', (_, response) => response.end('<html>'), 'it does not answer JSON'],
    ['too much', (_, response) => response.end(`"${'x'.repeat(100)}"`), 'it answers more than 100 bytes'],
    [
      'a broken answer',
      (request) => request.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{'),
      'the connection',
    ],
    ['no HTTP', (request) => request.socket.end('SSH-2.0-x\r\n'), 'it does not answer in HTTP'],
  ])('is %s', async (_, listener, why) => {
    const message = await failure(await serve(listener));
    expect(message).toMatch(/^The document at 127\.0\.0\.1:\d+ cannot be read: /);
    expect(message).toContain(why);
  });

  test('is a redirect, which is not followed', async () => {
    const url = await serve((request, response) =>
      request.url === '/there' ? response.end('{}') : response.writeHead(302, { location: '/there' }).end(),
    );
    expect(await failure(url)).toContain('it answered 302');
    expect(server?.requests).toHaveLength(1);
  });

  test.each<[string, RequestListener]>([
    ['never answers', () => undefined],
    ['never ends', (_, response) => response.writeHead(200).write('{')],
  ])('is one that %s', async (_, listener) => {
    expect(await failure(await serve(listener), { ...LIMITS, timeoutMs: 100 })).toContain('timed out');
  });

  test('is one whose name is never resolved, or whose port nobody listens on', async () => {
    const resolve = () => new Promise<never>(() => undefined);
    const options = { ...LIMITS, timeoutMs: 100, resolve };
    expect(await failure('http://issuer.test/', options)).toContain('timed out');
    const url = await serve((_, response) => response.end('{}'));
    await server?.close();
    expect(await failure(url)).toContain('the connection was refused');
  });
});

describe('without private networks', () => {
  const guarded = { ...LIMITS, allowPrivateNetworks: false };
  const resolve = async () => [{ address: '127.0.0.1', family: 4 }];

  test.each([
    'http://issuer.test:PORT/',
    'https://127.0.0.1:PORT/',
    'https://2130706433:PORT/',
    'https://[::ffff:127.0.0.1]:PORT/',
    'https://localhost:PORT/',
    'https://issuer.test:PORT/',
    'https://user:secret@issuer.test:PORT/',
    'nowhere',
  ])('%s is never connected to', async (url) => {
    await serve((_, response) => response.end('{}'));
    await failure(url.replace('PORT', String(server?.port)), Object.assign({ resolve }, guarded));
    expect(server?.connections).toBe(0);
  });

  test('a public name is read over TLS, by its certificate', async () => {
    server = await startWebServer((_, response) => response.end('{"keys":[]}'), { tls: true });
    const open = { ...guarded, resolve, isAllowed: () => true };
    const url = (host: string) => `https://${host}:${server?.port}/`;
    expect(await readJsonDocument(url('files.test'), { ...open, ca: TEST_CA })).toEqual({ keys: [] });
    expect(await failure(url('other.test'), Object.assign({ ca: TEST_CA }, open))).toContain('certificate');
    expect(await failure(url('files.test'), open)).toContain('certificate');
  });
});
