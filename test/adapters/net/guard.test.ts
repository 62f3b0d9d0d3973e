import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GuardOptions } from '../../../shared/adapters/net/guard.ts';
import { createHttpSource } from '../../../shared/adapters/net/httpSource.ts';
import { createReceiver } from '../../../shared/adapters/net/receiver.ts';
import { isPublicAddress } from '../../../shared/domain/publicAddress.ts';
import { startWebServer, TEST_CA, type WebServer } from '../../support/webServer.ts';

const GUARDED: GuardOptions = { allowPrivateNetworks: false };

/** What a name in the table resolves to. */
const NAMES: Record<string, string[]> = {
  'internal.test': ['127.0.0.1'],
  'mixed.test': ['8.8.8.8', '127.0.0.1'],
  'six.test': ['::1'],
  'mapped.test': ['::ffff:127.0.0.1'],
  'metadata.test': ['169.254.169.254'],
};
const resolve = async (hostname: string) =>
  (NAMES[hostname.replace(/\.$/, '')] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

let http: WebServer;
let six: WebServer | undefined;
let https: WebServer;

beforeAll(async () => {
  http = await startWebServer((_, response) => response.end('secret'), { host: '0.0.0.0' });
  https = await startWebServer((_, response) => response.end('secret'), { tls: true });
  six = await startWebServer((_, response) => response.end('secret'), { host: '::1' }).catch(() => undefined);
});
afterAll(() => Promise.all([http.close(), https.close(), six?.close()]));

const TARGETS = [
  'http://127.0.0.1:PORT/',
  'https://127.0.0.1:PORT/',
  'https://127.0.0.1.:PORT/',
  'https://127.1:PORT/',
  'https://0x7f.1:PORT/',
  'https://0x7f000001:PORT/',
  'https://0177.0.0.1:PORT/',
  'https://2130706433:PORT/',
  'https://127.0.0.2:PORT/',
  'https://0.0.0.0:PORT/',
  'https://0:PORT/',
  'https://%31%32%37.0.0.1:PORT/',
  'https://①②⑦.0.0.1:PORT/',
  'https://localhost:PORT/',
  'https://localhost.:PORT/',
  'https://[::1]:PORT/',
  'https://[::]:PORT/',
  'https://[::ffff:127.0.0.1]:PORT/',
  'https://[::ffff:7f00:1]:PORT/',
  'https://[64:ff9b::7f00:1]:PORT/',
  'https://[2002:7f00:1::]:PORT/',
  'https://[fe80::1]:PORT/',
  'https://[fc00::1]:PORT/',
  'https://10.0.0.1:PORT/',
  'https://169.254.169.254:PORT/latest/meta-data/',
  'https://user:secret@internal.test:PORT/',
  'https://internal.test:PORT/',
  'https://internal.test.:PORT/',
  'https://mixed.test:PORT/',
  'https://six.test:PORT/',
  'https://mapped.test:PORT/',
  'https://metadata.test:PORT/',
  'http://internal.test:PORT/',
  'ftp://127.0.0.1:PORT/',
  'file:///etc/passwd',
  'data:text/plain,hello',
  'not a url',
];

describe('a target that is not public is refused and never connected to', () => {
  test.each(TARGETS)('%s', async (template) => {
    for (const server of [http, https, six]) {
      if (!server) continue;
      const url = template.replace('PORT', String(server.port));
      const local = /localhost/.test(url);
      const options: GuardOptions = { ...GUARDED, ca: TEST_CA, ...(local ? {} : { resolve }) };
      const answer = await createReceiver(options).post(url, { headers: {}, body: '{}', timeoutMs: 5_000 });
      expect(answer).toMatchObject({ kind: 'unreachable' });
      const source = createHttpSource({ ...sourceOptions, ...options });
      await expect(source.open(url)).rejects.toMatchObject({ code: 'input_file_forbidden' });
    }
    expect(http.connections + https.connections + (six?.connections ?? 0)).toBe(0);
  });
});

const sourceOptions = {
  allowPrivateNetworks: false,
  idleTimeoutMs: 5_000,
  maxRedirects: 5,
  pausesMs: [],
};

describe('where a target is public', () => {
  // The tests' own notion of public: 127.0.0.1 is, 127.0.0.2 is not.
  const options: GuardOptions = {
    allowPrivateNetworks: false,
    isAllowed: (address) => address === '127.0.0.1',
    ca: TEST_CA,
  };
  const always = (address: string) => async () => [{ address, family: 4 }];

  test('the name is kept for TLS and Host while the checked address is connected to', async () => {
    const seen: (string | undefined)[] = [];
    const server = await startWebServer(
      (request, response) => {
        seen.push(request.headers.host);
        response.end();
      },
      { tls: true },
    );
    const receiver = createReceiver({ ...options, resolve: always('127.0.0.1') });
    const post = (host: string) =>
      receiver.post(`https://${host}:${server.port}/`, { headers: {}, body: '{}', timeoutMs: 5_000 });
    expect(await post('files.test')).toEqual({ kind: 'answered', status: 200 });
    expect(seen).toEqual([`files.test:${server.port}`]);
    expect(await post('other.test')).toEqual({ kind: 'unreachable', reason: 'its TLS certificate is not valid' });
    await server.close();
  });

  test('a name that changes after its check is checked again at its next connection', async () => {
    const server = await startWebServer((_, response) => response.end(), { tls: true });
    const inner = await startWebServer((_, response) => response.end('secret'), { tls: true, host: '127.0.0.2' });
    const answers = ['127.0.0.1', '127.0.0.2'];
    const source = createHttpSource({
      ...sourceOptions,
      ...options,
      resolve: async () => [{ address: answers.shift() ?? '127.0.0.2', family: 4 }],
    });
    const url = `https://files.test:${server.port}/`;
    const opened = await source.open(url);
    for await (const _ of opened.body);
    await expect(source.open(url)).rejects.toMatchObject({ code: 'input_file_forbidden' });
    await expect(source.open(`https://files.test:${inner.port}/`)).rejects.toMatchObject({
      code: 'input_file_forbidden',
    });
    expect(inner.connections).toBe(0);
    await Promise.all([server.close(), inner.close()]);
  });

  test.each([
    ['another address', (port: number) => `https://127.0.0.2:${port}/`],
    ['a name that resolves to one', (port: number) => `https://inner.test:${port}/`],
    ['plain http', (port: number) => `http://files.test:${port}/`],
    ['a file', () => 'file:///etc/passwd'],
    ['credentials', (port: number) => `https://a:b@files.test:${port}/`],
  ])('a redirect to %s is refused', async (_, location) => {
    const inner = await startWebServer((_, response) => response.end('secret'), { host: '127.0.0.2' });
    const server = await startWebServer(
      (_, response) => response.writeHead(302, { location: location(inner.port) }).end(),
      { tls: true },
    );
    const source = createHttpSource({
      ...sourceOptions,
      ...options,
      resolve: async (name) => [{ address: name === 'inner.test' ? '127.0.0.2' : '127.0.0.1', family: 4 }],
    });
    await expect(source.open(`https://files.test:${server.port}/`)).rejects.toMatchObject({
      code: 'input_file_forbidden',
    });
    expect(inner.connections).toBe(0);
    await Promise.all([server.close(), inner.close()]);
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
