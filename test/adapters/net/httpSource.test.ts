import type { RequestListener } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { createHttpSource } from '../../../shared/adapters/net/httpSource.ts';
import { startWebServer, type WebServer } from '../../support/webServer.ts';

const source = createHttpSource({ allowPrivateNetworks: true, idleTimeoutMs: 300, maxRedirects: 3, pausesMs: [1, 1] });
let server: WebServer;
afterEach(() => server.close());

async function serve(listener: RequestListener): Promise<WebServer> {
  server = await startWebServer(listener);
  return server;
}

async function text(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** A file of ten bytes that serves ranges as RFC 9110 has it. */
const FILE = '0123456789';
const ranged =
  (etag = '"v1"'): RequestListener =>
  (request, response) => {
    const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
    const headers = { etag, 'accept-ranges': 'bytes' };
    const ifRange = request.headers['if-range'];
    if (start === undefined || (ifRange !== undefined && ifRange !== etag)) {
      response.writeHead(200, { ...headers, 'content-length': 10 }).end(FILE);
    } else if (Number(start) >= 10) response.writeHead(416).end();
    else {
      response
        .writeHead(206, { ...headers, 'content-range': `bytes ${start}-9/10`, 'content-length': 10 - Number(start) })
        .end(FILE.slice(Number(start)));
    }
  };

describe('an input file over http', () => {
  test('is read with its length and validator', async () => {
    const { url } = await serve(ranged());
    const opened = await source.open(`${url}/input.jsonl`);
    expect(opened).toMatchObject({ bytes: 10, etag: '"v1"', acceptsRanges: true, gzip: false });
    expect(await text(opened.body)).toBe(FILE);
  });

  test('is read from the middle on, while it is the same file', async () => {
    const { url } = await serve(ranged());
    const opened = await source.open(url, { start: 4, ifRange: '"v1"' });
    expect(opened).toMatchObject({ bytes: 10, acceptsRanges: true });
    expect(await text(opened.body)).toBe('456789');
  });

  test.each([
    ['another file', ranged('"v2"'), 4],
    ['a shorter file', ranged(), 10],
    ['the whole file, for want of ranges', ((_, response) => response.end(FILE)) as RequestListener, 4],
  ])('that turns out to be %s has changed', async (_, listener, start) => {
    const { url } = await serve(listener);
    await expect(source.open(url, { start, ifRange: '"v1"' })).rejects.toMatchObject({ code: 'input_file_changed' });
  });

  test('that answers another range than asked for is not used', async () => {
    const { url } = await serve((_, response) =>
      response.writeHead(206, { 'content-range': 'bytes 0-9/10' }).end(FILE),
    );
    await expect(source.open(url, { start: 4 })).rejects.toMatchObject({ code: 'input_file_unreachable' });
  });

  test.each([401, 403])('behind a %d is forbidden', async (status) => {
    const { url } = await serve((_, response) => response.writeHead(status).end());
    await expect(source.open(url)).rejects.toMatchObject({ code: 'input_file_forbidden' });
    expect(server.requests).toHaveLength(1);
  });

  test.each([204, 304, 400, 404, 410])('that answers %d is unreachable at once', async (status) => {
    const { url } = await serve((_, response) => response.writeHead(status).end());
    const error = source.open(`${url}/path?signature=secret`);
    await expect(error).rejects.toMatchObject({ code: 'input_file_unreachable' });
    await expect(error).rejects.toThrow(`answered ${status}`);
    await expect(error).rejects.not.toThrow('secret');
    expect(server.requests).toHaveLength(1);
  });

  test.each([429, 500, 503])('that answers %d is tried again, a bounded number of times', async (status) => {
    const { url } = await serve((_, response) => response.writeHead(status).end());
    await expect(source.open(url)).rejects.toMatchObject({ code: 'input_file_unreachable' });
    expect(server.requests).toHaveLength(3);
  });

  test('that answers after a hiccup is read', async () => {
    let calls = 0;
    const { url } = await serve((request, response) => {
      calls++;
      if (calls === 1) request.socket.destroy();
      else if (calls === 2) response.writeHead(502).end();
      else response.end(FILE);
    });
    expect(await text((await source.open(url)).body)).toBe(FILE);
  });

  test('is found through redirects', async () => {
    const { url } = await serve((request, response) => {
      if (request.url === '/a') response.writeHead(302, { location: '/b' }).end('moved');
      else if (request.url === '/b') response.writeHead(308, { location: `${server.url}/c.jsonl` }).end();
      else response.end(FILE);
    });
    expect(await text((await source.open(`${url}/a`)).body)).toBe(FILE);
  });

  test('that redirects without end is unreachable', async () => {
    const { url } = await serve((_, response) => response.writeHead(302, { location: '/again' }).end());
    const error = source.open(url);
    await expect(error).rejects.toMatchObject({ code: 'input_file_unreachable' });
    await expect(error).rejects.toThrow('redirects more than 3 times');
    expect(server.requests).toHaveLength(4);
  });

  test('that never answers is unreachable', async () => {
    const { url } = await serve(() => undefined);
    await expect(source.open(url)).rejects.toThrow('timed out');
  });

  test('that stops sending in the middle is unreachable', async () => {
    const { url } = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 10 });
      response.write('01234');
    });
    const opened = await source.open(url);
    await expect(text(opened.body)).rejects.toMatchObject({ code: 'input_file_unreachable' });
  });

  test('that breaks off in the middle is unreachable, not short', async () => {
    const { url } = await serve((request, response) => {
      response.writeHead(200, { 'content-length': 10 });
      response.write('01234', () => request.socket.destroy());
    });
    const opened = await source.open(url);
    await expect(text(opened.body)).rejects.toMatchObject({ code: 'input_file_unreachable' });
  });

  test('is known to be gzip by its name or its encoding', async () => {
    const { url } = await serve((request, response) => {
      if (request.url === '/encoded') response.setHeader('content-encoding', 'gzip');
      response.end('x');
    });
    expect(await source.open(`${url}/encoded`)).toMatchObject({ gzip: true });
    expect(await source.open(`${url}/input.jsonl.gz?x=1`)).toMatchObject({ gzip: true });
    expect(await source.open(`${url}/input.jsonl`)).toMatchObject({ gzip: false });
  });

  test('in an encoding that is not read says so', async () => {
    const { url } = await serve((_, response) => response.writeHead(200, { 'content-encoding': 'br' }).end('x'));
    await expect(source.open(url)).rejects.toThrow('Content-Encoding "br"');
  });

  test('whose host is not there is unreachable', async () => {
    const { url } = await serve(() => undefined);
    await server.close();
    await expect(source.open(url)).rejects.toThrow('refused');
  });

  test.each([503, 0])('can be given up while it waits for another try (after %i)', async (status) => {
    const patient = createHttpSource({ allowPrivateNetworks: true, idleTimeoutMs: 5_000, maxRedirects: 3 });
    const stop = new AbortController();
    const why = new Error('told to stop');
    const { url } = await serve((request, response) => {
      if (status === 0) request.socket.destroy();
      else response.writeHead(status, { 'retry-after': '10' }).end();
      setTimeout(() => stop.abort(why), 50);
    });
    await expect(patient.open(url, { signal: stop.signal })).rejects.toBe(why);
    expect(server.requests).toHaveLength(1);
  });

  test('can be given up from outside', async () => {
    const { url } = await serve(() => undefined);
    await expect(source.open(url, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ name: 'TimeoutError' });
  });
});
