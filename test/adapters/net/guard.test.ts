import { execFile } from 'node:child_process';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { GuardOptions } from '../../../shared/adapters/net/guard.ts';
import { createInputSource } from '../../../shared/adapters/net/inputSource.ts';
import { createReceiver } from '../../../shared/adapters/net/receiver.ts';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { isPublicAddress } from '../../../shared/domain/publicAddress.ts';
import { watchConnectionAttempts } from '../../support/connectionAttempts.ts';
import { type Listeners, startListeners } from '../../support/listeners.ts';
import { startWebServer, TEST_CA, type WebServer } from '../../support/webServer.ts';

const s3Client = createS3Client({ region: 'us-east-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
const sourceOptions = { inputBuckets: [], s3Client, idleTimeoutMs: 5_000, maxRedirects: 5, pausesMs: [] };
const GUARDED: GuardOptions = { allowPrivateNetworks: false, ca: TEST_CA };

let listeners: Listeners;
let attempted: ReturnType<typeof watchConnectionAttempts>;
beforeAll(async () => {
  listeners = await startListeners();
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

describe('a name that is public when it is checked', () => {
  let front: WebServer;
  const seen: string[] = [];
  beforeAll(async () => {
    front = await startWebServer(
      (request, response) => {
        seen.push(`${request.headers.host} ${request.headers.connection}`);
        response.writeHead(200, { connection: 'keep-alive' }).end('{}');
      },
      { tls: true, host: PUBLIC },
    );
  });
  afterAll(() => front.close());
  beforeEach(() => {
    seen.length = 0;
  });
  const urlAt = (port: number) => `https://files.test:${port}/`;
  const read = async (source: ReturnType<typeof createInputSource>, url: string) => {
    const opened = await source.open(url);
    for await (const _ of opened.body);
  };

  test('and private a moment later is asked for once a connection, and nothing but its answer is connected to', async () => {
    const answers: string[] = [];
    const options = {
      ...GUARDED,
      isAllowed,
      resolve: async () => resolveTo(answers.shift() ?? '127.0.0.1')(),
    };
    const source = createInputSource({ ...sourceOptions, ...options });
    answers.push(PUBLIC);
    await read(source, urlAt(front.port));
    // Its next connection is a new one, and asks again.
    await expect(read(source, urlAt(front.port))).rejects.toMatchObject({ code: 'input_file_forbidden' });
    answers.push(PUBLIC);
    const post = () => createReceiver(options).post(urlAt(front.port), { headers: {}, body: '{}', timeoutMs: 5_000 });
    expect(await post()).toEqual({ kind: 'answered', status: 200 });
    expect(await post()).toMatchObject({ kind: 'unreachable' });
    expect(attempted.attempts).toEqual([`${PUBLIC}:${front.port}`, `${PUBLIC}:${front.port}`]);
    expect(listeners.connections).toBe(0);
  });

  test('has its own connection and its own Host, though two names share an address and a server keeps it open', async () => {
    const source = createInputSource({ ...sourceOptions, ...GUARDED, isAllowed, resolve: resolveTo(PUBLIC) });
    const before = front.connections;
    await read(source, urlAt(front.port));
    await read(source, urlAt(front.port));
    await expect(read(source, `https://other.test:${front.port}/`)).rejects.toThrow('certificate');
    expect(front.connections - before).toBe(3);
    expect(seen).toEqual([`files.test:${front.port} close`, `files.test:${front.port} close`]);
  });

  test('is tried at one checked address after the other, and at no other', async () => {
    const source = createInputSource({
      ...sourceOptions,
      ...GUARDED,
      isAllowed: (address) => address.startsWith('127.0.0.'),
      resolve: resolveTo('127.0.0.8', PUBLIC),
    });
    await read(source, urlAt(front.port));
    expect(attempted.attempts).toEqual([`127.0.0.8:${front.port}`, `${PUBLIC}:${front.port}`]);
  });

  test('is not tried at all where one of its addresses is private', async () => {
    const source = createInputSource({
      ...sourceOptions,
      ...GUARDED,
      isAllowed,
      resolve: resolveTo(PUBLIC, '127.0.0.1', '::1'),
    });
    await expect(read(source, urlAt(front.port))).rejects.toMatchObject({ code: 'input_file_forbidden' });
    expect(attempted.attempts).toEqual([]);
  });
});

describe('a name whose resolver', () => {
  const slowly = (answer: Promise<{ address: string; family: number }[]>) => ({
    ...GUARDED,
    isAllowed,
    resolve: () => answer,
  });
  const outcomes = async (options: GuardOptions) => {
    const url = `https://files.test:${listeners.port}/?token=SECRET`;
    const source = createInputSource({ ...sourceOptions, ...options, idleTimeoutMs: 200 });
    const error: unknown = await source.open(url).catch((thrown: unknown) => thrown);
    return [error, await createReceiver(options).post(url, { headers: {}, body: '{}', timeoutMs: 200 })];
  };

  test('never answers is given up in time, and what it answers later is not connected to', async () => {
    const late = Promise.withResolvers<{ address: string; family: number }[]>();
    expect(await outcomes(slowly(late.promise))).toEqual([
      expect.objectContaining({ code: 'input_file_unreachable', message: expect.stringContaining('timed out') }),
      { kind: 'unreachable', reason: 'timed out' },
    ]);
    late.resolve([{ address: PUBLIC, family: 4 }]);
    await setImmediate();
    expect(attempted.attempts).toEqual([]);
  });

  test.each([
    ['answers no address', []],
    [
      'answers what is no address',
      [
        { address: 'internal', family: 4 },
        { address: '', family: 0 },
      ],
    ],
    ['answers a number', [{ address: '2130706433', family: 4 }]],
  ])('%s is not connected to', async (_, answer) => {
    const [error, told] = await outcomes(slowly(Promise.resolve(answer)));
    expect(error).toMatchObject({ name: 'InputRejected' });
    expect(told).toMatchObject({ kind: 'unreachable' });
    expect(attempted.attempts).toEqual([]);
  });
});

describe('a proxy that the environment names', () => {
  const CHILD = `
    import { createInputSource } from ${JSON.stringify(new URL('../../../shared/adapters/net/inputSource.ts', import.meta.url))};
    import { createReceiver } from ${JSON.stringify(new URL('../../../shared/adapters/net/receiver.ts', import.meta.url))};
    const [url, ca] = process.argv.slice(1);
    const resolve = async () => [{ address: '${PUBLIC}', family: 4 }];
    const options = { allowPrivateNetworks: false, isAllowed: (address) => address === '${PUBLIC}', resolve, ca };
    const answer = await createReceiver(options).post(url, { headers: {}, body: '{}', timeoutMs: 60_000 });
    const source = createInputSource({ ...options, inputBuckets: [], idleTimeoutMs: 60_000, maxRedirects: 1, pausesMs: [] });
    let read = '';
    for await (const chunk of (await source.open(url)).body) read += Buffer.from(chunk).toString();
    console.log(JSON.stringify({ answer, read }));
    process.exit();
  `;

  test('carries nothing: what goes through it would be connected to by somebody who checks nothing', async () => {
    const front = await startWebServer((_, response) => response.end('file'), { tls: true, host: PUBLIC });
    const proxy = `http://127.0.0.1:${listeners.port}`;
    const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'GLOBAL_AGENT_HTTP_PROXY'];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '--eval', CHILD, `https://files.test:${front.port}/`, TEST_CA],
      {
        env: {
          ...Object.fromEntries(names.flatMap((name) => [name, name.toLowerCase()]).map((name) => [name, proxy])),
          NODE_USE_ENV_PROXY: '1',
          NO_PROXY: '',
        },
      },
    );
    expect(JSON.parse(stdout)).toEqual({ answer: { kind: 'answered', status: 200 }, read: 'file' });
    expect(front.connections).toBe(2);
    expect(listeners.connections).toBe(0);
    await front.close();
  });
});

describe('isPublicAddress', () => {
  test.each([
    '0.0.0.0',
    '0.1.2.3',
    '10.1.2.3',
    '100.64.0.1',
    '127.0.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.0.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::7f00:1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fec0::1',
    'ff02::1',
    '::ffff:10.0.0.1',
    '64:ff9b::a00:1',
    '64:ff9b:1::1',
    '2002:a00:1::',
    '2001:0:1::',
    '2001:db8::1',
    '3fff::1',
    '100::1',
    '4000::1',
    'localhost',
    '',
    '1.2.3',
  ])('is false for %s', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  test.each([
    '8.8.8.8',
    '1.1.1.1',
    '172.32.0.1',
    '100.128.0.1',
    '2606:4700:4700::1111',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
  ])('is true for %s', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });
});
