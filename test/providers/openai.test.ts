import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { ModelCall, ModelProvider } from '../../shared/ports.ts';
import { createOpenAiProvider } from '../../shared/providers/openai.ts';
import { startWebServer } from '../support/webServer.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Seen = { method: string; url: string; headers: IncomingMessage['headers']; body: string };

async function modelServer(answer: (response: ServerResponse, seen: Seen) => void) {
  const seen: Seen[] = [];
  const server = await startWebServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { method = '', url = '', headers } = request;
    const one = { method, url, headers, body };
    seen.push(one);
    answer(response, one);
  });
  closers.push(() => server.close());
  return { server, seen };
}

function provider(baseUrl: string, options: { key?: string; maxSockets?: number; now?: number } = {}): ModelProvider {
  const made = createOpenAiProvider({
    baseUrl,
    apiKey: async () => options.key,
    maxSockets: options.maxSockets ?? 4,
    now: () => options.now ?? 0,
  });
  closers.push(async () => made.close?.());
  return made;
}

const call = (changes: Partial<ModelCall> = {}): ModelCall => ({
  endpoint: 'chat/completions',
  body: { model: 'm', messages: [{ role: 'user', content: 'Grüße' }] },
  idempotencyKey: 'line-1',
  timeoutMs: 30_000,
  maxAnswerBytes: 1_000,
  ...changes,
});

describe('the OpenAI-compatible provider', () => {
  it('posts the body to the endpoint under the base URL, with the key and the idempotency key', async () => {
    const { server, seen } = await modelServer((response) => response.end('{"ok":true}'));
    const answer = await provider(`${server.url}/v1`, { key: 'sk-1' }).call(call());
    expect(answer).toEqual({ kind: 'answered', status: 200, body: expect.anything() });
    expect(answer.kind === 'answered' && Buffer.from(answer.body).toString()).toBe('{"ok":true}');
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/v1/chat/completions' });
    expect(seen[0]?.headers).toMatchObject({
      authorization: 'Bearer sk-1',
      'idempotency-key': 'line-1',
      'content-type': 'application/json',
    });
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual(call().body);
  });

  it('asks for its key again where it is refused, once, and calls again only with another one', async () => {
    const { server, seen } = await modelServer((response, { headers }) =>
      response.writeHead(headers.authorization === 'Bearer new' ? 200 : 401).end('{}'),
    );
    const asked: (string | undefined)[] = [];
    const withKeys = (key: string, renewed: string) => {
      const made = createOpenAiProvider({
        baseUrl: server.url,
        maxSockets: 1,
        apiKey: async (refused) => {
          asked.push(refused);
          return refused === undefined ? key : renewed;
        },
      });
      closers.push(async () => made.close?.());
      return made.call(call());
    };
    expect(await withKeys('old', 'new')).toMatchObject({ kind: 'answered', status: 200 });
    expect(asked.splice(0)).toEqual([undefined, 'old']);
    expect(seen.splice(0)).toHaveLength(2);
    expect(await withKeys('old', 'old')).toMatchObject({ kind: 'answered', status: 401 });
    expect(seen.splice(0)).toHaveLength(1);
    expect(await withKeys('old', 'older')).toMatchObject({ kind: 'answered', status: 401 });
    expect(seen).toHaveLength(2);
  });

  it('renews its key within the time of the call, and stops at once where the caller does', async () => {
    const { server } = await modelServer((response) => response.writeHead(401).end('{}'));
    const never = Promise.withResolvers<string>();
    const made = createOpenAiProvider({
      baseUrl: server.url,
      maxSockets: 1,
      apiKey: async (refused) => (refused === undefined ? 'old' : never.promise),
    });
    closers.push(async () => made.close?.());
    expect(await made.call(call({ timeoutMs: 300 }))).toEqual({ kind: 'timeout' });
    const stop = new AbortController();
    const stopped = made.call(call({ signal: stop.signal }));
    setTimeout(() => stop.abort(new Error('stop')), 100);
    await expect(stopped).rejects.toThrow('stop');
  });

  it('sends no Authorization where there is no key', async () => {
    const { server, seen } = await modelServer((response) => response.end('{}'));
    await provider(`${server.url}/v1/`).call(call({ endpoint: 'embeddings' }));
    expect(seen[0]?.url).toBe('/v1/embeddings');
    expect(seen[0]?.headers.authorization).toBeUndefined();
  });

  it.each([
    [{ 'retry-after': '7' }, 7_000],
    [{ 'retry-after': 'Thu, 01 Jan 1970 00:01:00 GMT' }, 50_000],
    [{ 'retry-after-ms': '120', 'retry-after': '1' }, 120],
    [{ 'retry-after': 'soon' }, undefined],
  ] as [Record<string, string>, number | undefined][])('reads %j', async (headers, retryAfterMs) => {
    const { server } = await modelServer((response) => response.writeHead(429, headers).end('{}'));
    const answer = await provider(server.url, { now: 10_000 }).call(call());
    expect(answer).toMatchObject({ kind: 'answered', status: 429 });
    expect(answer.kind === 'answered' ? answer.retryAfterMs : 'none').toBe(retryAfterMs);
  });

  it('gives back what is not JSON and what is a redirect as it came, and follows nowhere', async () => {
    const { server, seen } = await modelServer((response) =>
      response.writeHead(307, { location: '/elsewhere' }).end('<html>moved</html>'),
    );
    const answer = await provider(server.url).call(call());
    expect(answer).toMatchObject({ kind: 'answered', status: 307 });
    expect(seen).toHaveLength(1);
  });

  it('times out where no head comes, where the body dribbles on, and where nothing accepts', async () => {
    const { server } = await modelServer((response, { url }) => {
      if (url === '/slow/embeddings') response.writeHead(200).write('{');
    });
    const quick = { timeoutMs: 60 };
    expect(await provider(server.url).call(call(quick))).toEqual({ kind: 'timeout' });
    expect(await provider(`${server.url}/slow`).call(call({ ...quick, endpoint: 'embeddings' }))).toEqual({
      kind: 'timeout',
    });
  });

  it('says what broke where the connection is refused or reset in the middle of the body', async () => {
    const { server } = await modelServer((response) => {
      response.writeHead(200, { 'content-length': '500' }).write('{"half":', () => response.socket?.resetAndDestroy());
    });
    const broken = await provider(server.url).call(call());
    expect(broken).toMatchObject({ kind: 'network', reason: expect.stringContaining('connection was') });
    const closed = await startWebServer(() => {});
    await closed.close();
    expect(await provider(closed.url).call(call())).toEqual({ kind: 'network', reason: 'the connection was refused' });
  });

  it('says so where the other side does not speak HTTP', async () => {
    const server = createServer((socket) =>
      socket
        .on('error', () => {})
        .resume()
        .end('SSH-2.0-nothing\r\n'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise((resolve) => server.close(resolve)));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const answer = await provider(`http://127.0.0.1:${port}`).call(call());
    expect(answer).toEqual({ kind: 'network', reason: 'it does not answer in HTTP' });
  });

  it('stops reading an answer that is too large, announced or endless, and closes its connection', async () => {
    let ended = 0;
    const { server } = await modelServer((response, { url }) => {
      response.on('close', () => ended++);
      if (url === '/announced/embeddings') {
        response.writeHead(200, { 'content-length': '5000' }).write('x'.repeat(100));
        return;
      }
      const more = () => {
        if (!response.destroyed) response.write('x'.repeat(400), () => setImmediate(more));
      };
      more();
    });
    expect(await provider(server.url).call(call())).toEqual({ kind: 'too_large' });
    expect(await provider(`${server.url}/announced`).call(call({ endpoint: 'embeddings' }))).toEqual({
      kind: 'too_large',
    });
    while (ended < 2) await turn();
  });

  it('accepts an answer of exactly the allowed size', async () => {
    const { server } = await modelServer((response) => response.end('x'.repeat(1_000)));
    expect(await provider(server.url).call(call())).toMatchObject({ kind: 'answered' });
  });

  it("rejects with the caller's reason when it is called off, before and in the middle", async () => {
    const abort = new AbortController();
    const { server } = await modelServer(() => abort.abort(new Error('stopped by control')));
    const model = provider(server.url);
    await expect(model.call(call({ signal: abort.signal }))).rejects.toThrow('stopped by control');
    await expect(model.call(call({ signal: abort.signal }))).rejects.toThrow('stopped by control');
  });

  it('uses its connections again and opens no more than it may', async () => {
    const { server } = await modelServer((response) => response.end('{}'));
    const model = provider(server.url, { maxSockets: 3 });
    for (let round = 0; round < 4; round++) await Promise.all(Array.from({ length: 10 }, () => model.call(call())));
    expect(server.requests).toHaveLength(40);
    expect(server.connections).toBeLessThanOrEqual(3);
  });
});
