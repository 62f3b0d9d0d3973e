import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { GuardOptions } from '../../../shared/adapters/net/guard.ts';
import { createInputSource } from '../../../shared/adapters/net/inputSource.ts';
import { createReceiver } from '../../../shared/adapters/net/receiver.ts';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { isPublicAddress } from '../../../shared/domain/publicAddress.ts';
import { watchConnectionAttempts } from '../../support/connectionAttempts.ts';
import { FORBIDDEN_TARGETS, NAMED_PORTS, resolverOf } from '../../support/forbiddenTargets.ts';
import { type Listeners, startListeners } from '../../support/listeners.ts';
import { startWebServer, TEST_CA, type WebServer } from '../../support/webServer.ts';

const s3Client = createS3Client({ region: 'us-east-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
const sourceOptions = { inputBuckets: ['bucket'], s3Client, idleTimeoutMs: 5_000, maxRedirects: 5, pausesMs: [] };
const GUARDED: GuardOptions = { allowPrivateNetworks: false, ca: TEST_CA };
const ROWS = FORBIDDEN_TARGETS.map((target) => [target.url, target.dns.join(' '), target] as const);

let listeners: Listeners;
let attempted: ReturnType<typeof watchConnectionAttempts>;
beforeAll(async () => {
  listeners = await startListeners(NAMED_PORTS);
});
afterAll(() => listeners.close());
beforeEach(() => {
  attempted = watchConnectionAttempts();
});
afterEach(() => attempted.stop());

/** What counts for public below: one address of the machine itself, and what is. */
const PUBLIC = '127.0.0.9';
const isAllowed = (address: string) => address === PUBLIC || isPublicAddress(address);
const resolveTo =
  (...addresses: string[]) =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

describe('a redirect', () => {
  /** What is ASCII, as headers are, and says of itself where it leads: `https:127.1` stays at the host that says it. */
  const absolute = ROWS.filter(
    ([url]) => /^[\x20-\x7e]+$/.test(url) && /^[a-z]+:|^\/\//i.test(url) && !/^https:[^/\\]/i.test(url),
  );
  const STATUSES = [301, 302, 303, 307, 308];
  /** Every kind by every status, the whole table by one after the other. */
  const KINDS = new Set([
    'https://127.0.0.1:PORT/in.jsonl?token=SECRET',
    'https://[::ffff:a9fe:a9fe]:PORT/in.jsonl?token=SECRET',
    'https://internal.test:PORT/in.jsonl?token=SECRET',
    'https://localhost:PORT/in.jsonl?token=SECRET',
    'http://files.test:PORT/',
    'ftp://127.0.0.1:PORT/in.jsonl',
    'gopher://127.0.0.1:PORT/_GET%20/',
    'file:///etc/passwd',
    'data:application/jsonl,%7B%7D',
    'https://user:SECRET@files.test:PORT/',
    'https://files.test:25/in.jsonl?token=SECRET',
    '//127.0.0.1:PORT/',
  ]);
  const hops = absolute.flatMap(([url, addresses, target], index) =>
    (KINDS.has(url) ? STATUSES : [STATUSES[index % STATUSES.length] ?? 302]).map(
      (status) => [status, url, addresses, target] as const,
    ),
  );
  const inner = resolverOf(FORBIDDEN_TARGETS);
  const options: GuardOptions = {
    ...GUARDED,
    isAllowed,
    resolve: async (name) => (name === 'files.test' ? resolveTo(PUBLIC)() : inner(name)),
  };
  let location = '';
  let status = 302;
  let front: WebServer;
  beforeAll(async () => {
    front = await startWebServer((_, response) => response.writeHead(status, { location }).end('moved'), {
      tls: true,
      host: PUBLIC,
    });
  });
  afterAll(() => front.close());
  const open = () => createInputSource({ ...sourceOptions, ...options }).open(`https://files.test:${front.port}/`);

  test('is tried with every kind of target', () => {
    expect(hops).toHaveLength(absolute.length + KINDS.size * (STATUSES.length - 1));
  });

  test.each([
    ...hops,
    ...STATUSES.map((code) => [code, 's3://bucket/key', '', undefined] as const),
    [302, '//internal.test:PORT/in.jsonl', '', undefined] as const,
    [302, '\\\\127.0.0.1:PORT\\', '', undefined] as const,
    [302, '/\\127.0.0.1:PORT/', '', undefined] as const,
  ])('%i to %j (%s) is not followed', async (code, url, _dns, target) => {
    status = code;
    location = url.replace('PORT', String(listeners.port));
    const error: unknown = await open().catch((thrown: unknown) => thrown);
    // What cannot be parsed is no place to go to.
    const parses = URL.canParse(location, 'https://files.test/');
    const expected = parses ? 'input_file_forbidden' : 'input_file_unreachable';
    expect(error).toMatchObject({ name: 'InputRejected', code: expected });
    expect((error as Error).message).not.toMatch(/SECRET|token/);
    if (target?.refused === 'connection') expect((error as Error).message).toContain('is not at a public address');
    expect(attempted.attempts).toEqual([`${PUBLIC}:${front.port}`]);
    expect(listeners.connections).toBe(0);
  });

  test.each(STATUSES)('%i by a receiver is its answer', async (code) => {
    status = code;
    location = `https://127.0.0.1:${listeners.port}/`;
    const url = `https://files.test:${front.port}/hook`;
    expect(await createReceiver(options).post(url, { headers: {}, body: '{}', timeoutMs: 5_000 })).toEqual({
      kind: 'answered',
      status: code,
    });
    expect(attempted.attempts).toEqual([`${PUBLIC}:${front.port}`]);
    expect(listeners.connections).toBe(0);
  });
});
