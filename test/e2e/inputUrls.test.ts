import { lookup } from 'node:dns/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isPublicAddress } from '../../shared/domain/publicAddress.ts';
import { createBatchClient } from '../support/batchClient.ts';
import { CANARIES, SIGNED_QUERY } from '../support/canaries.ts';
import { FORBIDDEN_TARGETS, NAMED_PORTS } from '../support/forbiddenTargets.ts';
import { type Listeners, startListeners } from '../support/listeners.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';

const line = (id: string, input: string = CANARIES.prompt) =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/agents/a/invoke', body: { input } });
const MAX_LINES = 50;
const LINE_BYTES = 1024 * 1024;

let run: TestRun;
let web: Server;
let origin: string;
let client: ReturnType<typeof createBatchClient>;

beforeAll(async () => {
  web = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    switch (pathname) {
      case '/good.jsonl':
        return response.end(`${line('a')}\n${line('b')}\n`);
      case '/moved':
        return response.writeHead(302, { location: `/good.jsonl?${SIGNED_QUERY}` }).end();
      case '/loop':
        return response.writeHead(302, { location: `/loop?${SIGNED_QUERY}` }).end();
      case '/packed.jsonl.gz':
        return response.end(gzipSync(line('a')));
      case '/encoded':
        return response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(line('a')));
      case '/page':
        return response.writeHead(200, { 'content-type': 'text/html' }).end('<!DOCTYPE html>\n<html></html>\n');
      case '/private':
        return response.writeHead(403).end('no');
      case '/hang':
        // Never answers; the setting's idle timeout ends it.
        return undefined;
      case '/stalls':
        response.writeHead(200, { 'content-length': '1000' });
        return response.write(line('a'));
      case '/too-many':
        return response.end(Array.from({ length: MAX_LINES + 1 }, (_, index) => line(`id-${index}`)).join('\n'));
      case '/just-enough':
        return response.end(Array.from({ length: MAX_LINES }, (_, index) => line(`id-${index}`)).join('\n\n'));
      case '/long-line':
        return response.end(`${line('a')}\n${line('b', 'x'.repeat(2 * LINE_BYTES))}\n${line('c')}\n`);
      case '/empty':
        return response.end();
      default:
        return response.writeHead(404).end('not here');
    }
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  run = await startTestRun({
    settings: { limits: { inputLines: MAX_LINES, lineBytes: LINE_BYTES }, fetch: { idleTimeoutSeconds: 1 } },
  });
  client = createBatchClient(run.url, run.apiKey);
});

afterAll(async () => {
  await run?.close();
  web?.closeAllConnections();
  web?.close();
});

const runUrl = async (path: string) => {
  const { id } = await client.create({
    type: 'COMPLETIONS',
    input_file_url: `${path.startsWith('http') ? path : origin + path}?${SIGNED_QUERY}`,
    callback_url: `${origin}/good.jsonl?${CANARIES.callback}`,
  });
  return await client.untilEnded(id);
};

describe('an input URL', () => {
  test.each([
    ['that serves the file', '/good.jsonl', 2],
    ['that redirects to it', '/moved', 2],
    ['of a .gz file', '/packed.jsonl.gz', 1],
    ['with Content-Encoding: gzip', '/encoded', 1],
    ['with as many lines as are allowed, and blank ones between', '/just-enough', MAX_LINES],
  ])('%s is read', async (_, path, lines) => {
    expect(await runUrl(path)).toMatchObject({
      status: 'completed',
      request_counts: { total: lines, completed: lines, failed: 0 },
    });
  });

  test.each([
    ['that is not there', '/nothing', 'input_file_unreachable'],
    ['that refuses', '/private', 'input_file_forbidden'],
    ['that redirects without end', '/loop', 'input_file_unreachable'],
    ['that hangs', '/hang', 'input_file_unreachable'],
    ['that stops half-way', '/stalls', 'input_file_unreachable'],
    ['where nothing listens', 'http://127.0.0.1:1/x.jsonl', 'input_file_unreachable'],
    ['of an empty file', '/empty', 'empty_file'],
    ['of one line too many', '/too-many', 'too_many_lines'],
    ['of a page of HTML', '/page', 'invalid_json_line'],
    ['of a line that is too long', '/long-line', 'line_too_long'],
    ['of an upload that does not exist', 'file://file_01ARZ3NDEKTSV4RRFFQ69G5FAV', 'input_file_unreachable'],
  ])('%s fails the batch with its code', async (_, path, code) => {
    const created = await client.call('POST', '/batches', {
      name: 'bad input',
      type: 'COMPLETIONS',
      input_file_url: path.startsWith('file:')
        ? path
        : `${path.startsWith('/') ? origin + path : path}?${SIGNED_QUERY}`,
      callback_url: `${origin}/good.jsonl?${CANARIES.callback}`,
    });
    if (path.startsWith('file:') && created.status === 400) {
      // An upload can be looked up at once, so the request itself is refused.
      expect(created.body).toMatchObject({ error: 'invalid_request', details: [{ param: 'input_file_url' }] });
      return;
    }
    expect(created.status).toBe(201);
    const batch = await client.untilEnded(String(created.body.id));
    expect(batch.status).toBe('failed');
    expect(batch.errors[0]).toMatchObject({ code, message: expect.any(String) });
  });
});

describe('a stage that allows no private networks', () => {
  let guarded: TestRun;
  let listeners: Listeners;
  let guardedClient: ReturnType<typeof createBatchClient>;
  beforeAll(async () => {
    listeners = await startListeners(NAMED_PORTS);
    guarded = await startTestRun({ settings: { ...TEST_SETTINGS, allowPrivateNetworks: false, logLevel: 'DEBUG' } });
    guardedClient = createBatchClient(guarded.url, guarded.apiKey);
  });
  afterAll(async () => {
    await guarded?.close();
    await listeners?.close();
  });
  const at = (url: string) => url.replace('PORT', String(listeners.port));
  const fields = (body: Record<string, string>) => ({
    name: 'reach',
    type: 'COMPLETIONS',
    input_file_url: 'https://files.test/in.jsonl',
    callback_url: 'https://files.test/hook',
    ...body,
  });

  // Some of each kind: the whole table is held against the schema itself, in `forbiddenTargets.test.ts`.
  const SHOWN = FORBIDDEN_TARGETS.filter(({ refused }) => refused === 'creation').filter((_, at) => at % 6 === 0);

  test.each(['input_file_url', 'callback_url'])('refuses a %s that shows where it leads', async (param) => {
    for (const { url } of SHOWN) {
      const { status, body } = await guarded.call('POST', '/batches', { body: fields({ [param]: at(url) }) });
      expect([url, status, body.error, body.details]).toEqual([
        url,
        400,
        'invalid_request',
        [{ param, message: expect.stringMatching(/^must /) }],
      ]);
    }
    expect(listeners.connections).toBe(0);
  });

  test('fails a batch whose input is at a name that leads inside, and does not deliver to one', async ({ skip }) => {
    // The machine's own name leads to an address of its own, almost everywhere.
    const name = hostname().toLowerCase();
    const addresses = await lookup(name, { all: true }).catch(() => []);
    if (addresses.length === 0 || addresses.some(({ address }) => isPublicAddress(address))) skip();
    const url = `https://${name}:${listeners.port}/in.jsonl?token=SECRET`;
    const { status, body } = await guarded.call('POST', '/batches', {
      body: fields({ input_file_url: url, callback_url: url }),
    });
    expect(status).toBe(201);
    const batch = await guardedClient.untilEnded(body.id);
    const message = `The host ${name} is not at a public address.`;
    expect(batch.status).toBe('failed');
    expect(batch.errors).toEqual([{ code: 'input_file_forbidden', line: null, message, param: 'input_file_url' }]);
    const shown = async () => (await guarded.call('GET', `/batches/${body.id}`)).body;
    await expect.poll(async () => (await shown()).delivery?.gave_up_at ?? null, { timeout: 60_000 }).not.toBe(null);
    const { delivery, delivered_at } = await shown();
    expect(delivered_at).toBe(null);
    expect(delivery).toMatchObject({ attempts: 4, last_status: null, last_error: message });
    expect(listeners.connections).toBe(0);
  });
});
