import type { RequestListener } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { createReceiver } from '../../../shared/adapters/net/receiver.ts';
import { startWebServer, type WebServer } from '../../support/webServer.ts';

const receiver = createReceiver({ allowPrivateNetworks: true });
let server: WebServer;
afterEach(() => server.close());

async function post(listener: RequestListener, timeoutMs = 5_000) {
  server = await startWebServer(listener);
  return receiver.post(`${server.url}/hook?token=secret`, {
    headers: { 'webhook-id': 'msg_1' },
    body: '{"a":1}',
    timeoutMs,
  });
}

describe('the receiver', () => {
  test('is sent the headers and the body', async () => {
    const seen: unknown[] = [];
    const answer = await post(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      seen.push(request.method, request.headers['webhook-id'], body);
      response.writeHead(204).end();
    });
    expect(answer).toEqual({ kind: 'answered', status: 204 });
    expect(seen).toEqual(['POST', 'msg_1', '{"a":1}']);
  });

  test('may redirect, which is an answer and is not followed', async () => {
    expect(await post((_, response) => response.writeHead(307, { location: '/elsewhere' }).end())).toEqual({
      kind: 'answered',
      status: 307,
    });
    expect(server.requests).toEqual(['POST /hook?token=secret']);
  });

  test('may ask for a pause in seconds', async () => {
    expect(await post((_, response) => response.writeHead(503, { 'retry-after': '7' }).end())).toEqual({
      kind: 'answered',
      status: 503,
      retryAfterMs: 7_000,
    });
  });

  test('that never answers is given up after the time limit', async () => {
    expect(await post(() => undefined, 200)).toEqual({ kind: 'unreachable', reason: 'timed out' });
  });

  test('that answers and then dribbles without end has answered', async () => {
    const answer = await post((_, response) => {
      response.writeHead(200);
      response.write('{');
    }, 300);
    expect(answer).toEqual({ kind: 'answered', status: 200 });
  });

  test('that sends without end has answered, and is not listened to for long', async () => {
    let sent = 0;
    const answer = await post((_, response) => {
      const more = (): void => {
        if (response.destroyed) return;
        sent += 65_536;
        if (response.write(Buffer.alloc(65_536))) setImmediate(more);
        else response.once('drain', more);
      };
      more();
    });
    expect(answer).toEqual({ kind: 'answered', status: 200 });
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  });

  test.each([
    ['hangs up', 'the connection was', (request: Parameters<RequestListener>[0]) => request.socket.destroy()],
    ['resets', 'the connection was', (request: Parameters<RequestListener>[0]) => request.socket.resetAndDestroy()],
    [
      'talks something else',
      'it does not answer in HTTP',
      (request: Parameters<RequestListener>[0]) => request.socket.end('220 smtp ready\r\n'),
    ],
    [
      'only ever says that it has begun',
      'timed out',
      (request: Parameters<RequestListener>[0]) => {
        const more = (): void => {
          if (!request.socket.destroyed)
            request.socket.write('HTTP/1.1 103 Early Hints\r\n\r\n', () => setImmediate(more));
        };
        more();
      },
    ],
    [
      'dribbles its head',
      'timed out',
      (request: Parameters<RequestListener>[0]) => void request.socket.write('HTTP/1.1 200 OK\r\nx-slow: '),
    ],
    [
      'wants another protocol',
      'the connection was',
      (request: Parameters<RequestListener>[0]) =>
        void request.socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
    ],
    [
      'floods the head',
      'its answer has too large a head',
      (request: Parameters<RequestListener>[0]) =>
        request.socket.end(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`),
    ],
  ])('that %s is unreachable, and the reason says why and names no URL', async (_, reason, behave) => {
    const answer = await post((request) => behave(request), reason === 'timed out' ? 300 : 5_000);
    expect(answer).toEqual({ kind: 'unreachable', reason: expect.stringContaining(reason) });
    expect(JSON.stringify(answer)).not.toMatch(/hook|secret/);
  });

  test('that does not listen is unreachable', async () => {
    server = await startWebServer(() => undefined);
    const { url } = server;
    await server.close();
    expect(await receiver.post(url, { headers: {}, body: '', timeoutMs: 5_000 })).toEqual({
      kind: 'unreachable',
      reason: 'the connection was refused',
    });
  });

  test('may answer with a body that is compressed: it is dropped as it is', async () => {
    expect(
      await post((_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('x'))),
    ).toEqual({ kind: 'answered', status: 200 });
  });
});
