import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createHttpSource } from '../../../shared/adapters/net/httpSource.ts';
import { createReceiver } from '../../../shared/adapters/net/receiver.ts';
import { dribble, flood, type RawServer, startRawServer } from '../../support/rawServer.ts';

const MIB = 1024 * 1024;
const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;
/** For what never comes; and for what has to come before it. */
const SHORT_MS = 300;
const ENOUGH_MS = 2_000;
const NOT_HTTP = 'does not answer in HTTP';
const CLOSED = 'the connection was closed';
const LARGE_HEAD = 'has too large a head';
const TIMED_OUT = 'timed out';

type Hostile = {
  name: string;
  answer: (socket: Socket) => void;
  /** What the file is read as, or why it is not. */
  input: { text: string } | { why: string };
  /** The status that the receiver is taken to have answered, or why there is none. */
  receiver: number | string;
  /** It takes as long as it is given: so it is given little. */
  endless?: true;
  scheme?: 'https';
};
const refused = (name: string, answer: Hostile['answer'], why: string): Hostile => ({
  name,
  answer,
  input: { why },
  receiver: why,
});
const ends = (bytes: string | Uint8Array) => (socket: Socket) => void socket.end(bytes);

const HOSTILE: Hostile[] = [
  // What is not HTTP.
  refused('another protocol', ends('SSH-2.0-OpenSSH_9.6\r\n'), NOT_HTTP),
  refused('zeros', ends(Buffer.alloc(100)), NOT_HTTP),
  refused('HTTP/2', ends('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), NOT_HTTP),
  refused('a version that there is not', ends('HTTP/9.9 200 OK\r\n\r\n'), NOT_HTTP),
  refused('a status that is a word', ends('HTTP/1.1 fine\r\n\r\n'), NOT_HTTP),
  refused('a status of four digits', ends('HTTP/1.1 2000 OK\r\n\r\n'), NOT_HTTP),
  refused('a status of zero', ends('HTTP/1.1 000 OK\r\n\r\n'), 'the connection failed'),
  refused('garbage without end', (socket) => flood(socket, '', 'x'.repeat(65_536)), NOT_HTTP),
  {
    ...refused('a status line without end', (socket) => flood(socket, OK.trim(), 'x'.repeat(65_536)), TIMED_OUT),
    endless: true,
  },
  refused('a header without a colon', ends(`${OK}header\r\n\r\n`), NOT_HTTP),
  refused('a NUL in a header', ends(`${OK}x: a\0b\r\n\r\n`), NOT_HTTP),
  refused('a space before the colon', ends(`${OK}Content-Length : 2\r\n\r\nab`), NOT_HTTP),

  // Heads.
  refused('one large header', ends(`${OK}x: ${'y'.repeat(100_000)}\r\n\r\n`), LARGE_HEAD),
  refused('headers without end', (socket) => flood(socket, OK, 'x-a: 1\r\n'.repeat(100)), LARGE_HEAD),
  refused('the name of a header without end', (socket) => flood(socket, OK, 'x'.repeat(1_000)), LARGE_HEAD),
  { ...refused('a head that dribbles', (socket) => dribble(socket, `${OK}x: `, 'y', 20), TIMED_OUT), endless: true },
  {
    ...refused('103s without end', (socket) => flood(socket, '', 'HTTP/1.1 103 Early Hints\r\n\r\n'), TIMED_OUT),
    endless: true,
  },
  {
    ...refused('102s that dribble', (socket) => dribble(socket, '', 'HTTP/1.1 102 Processing\r\n\r\n', 5), TIMED_OUT),
    endless: true,
  },
  refused('a 100 that nobody asked for', ends(`HTTP/1.1 100 Continue\r\n\r\n${OK}Content-Length: 2\r\n\r\nab`), CLOSED),
  refused(
    'another protocol from here on',
    ends('HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
    CLOSED,
  ),
  { ...refused('nothing', () => undefined, TIMED_OUT), endless: true },
  refused('a closed connection', (socket) => void socket.end(), CLOSED),
  refused('a reset', (socket) => void socket.resetAndDestroy(), 'the connection was reset'),

  // Lengths. A shorter one than what comes is what counts: the rest belongs to no answer.
  {
    name: 'more than its length',
    answer: ends(`${OK}Content-Length: 2\r\n\r\nabcdef`),
    input: { text: 'ab' },
    receiver: 200,
  },
  {
    name: 'a second answer behind the first',
    answer: ends(`${OK}Content-Length: 2\r\n\r\nab${OK}Content-Length: 3\r\n\r\nxyz`),
    input: { text: 'ab' },
    receiver: 200,
  },
  {
    name: 'less than its length',
    answer: ends(`${OK}Content-Length: 100\r\n\r\nab`),
    input: { why: CLOSED },
    receiver: 200,
  },
  refused('a negative length', ends(`${OK}Content-Length: -5\r\n\r\nab`), NOT_HTTP),
  refused('a length in hex', ends(`${OK}Content-Length: 0x2\r\n\r\nab`), NOT_HTTP),
  refused('a length beyond all numbers', ends(`${OK}Content-Length: ${'9'.repeat(30)}\r\n\r\nab`), CLOSED),
  refused('two lengths', ends(`${OK}Content-Length: 2\r\nContent-Length: 5\r\n\r\nabcde`), CLOSED),
  refused('two lengths in one', ends(`${OK}Content-Length: 2, 5\r\n\r\nabcde`), CLOSED),
  refused(
    'a length and chunks',
    ends(`${OK}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n`),
    CLOSED,
  ),
  refused(
    'chunks and a length',
    ends(`${OK}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n5\r\nabcde\r\n0\r\n\r\n`),
    NOT_HTTP,
  ),

  // Chunks. A receiver has answered by its head, whatever its body is.
  {
    name: 'a chunk without a size',
    answer: ends(`${CHUNKED}zz\r\nab\r\n0\r\n\r\n`),
    input: { why: NOT_HTTP },
    receiver: 200,
  },
  {
    name: 'a chunk of negative size',
    answer: ends(`${CHUNKED}-2\r\nab\r\n0\r\n\r\n`),
    input: { why: NOT_HTTP },
    receiver: 200,
  },
  {
    name: 'a chunk of 2^72 bytes',
    answer: ends(`${CHUNKED}FFFFFFFFFFFFFFFFFF\r\nab`),
    input: { why: NOT_HTTP },
    receiver: 200,
  },
  {
    name: 'a chunk that is longer than its size',
    answer: ends(`${CHUNKED}2\r\nabcd\r\n0\r\n\r\n`),
    input: { why: NOT_HTTP },
    receiver: 200,
  },
  { name: 'a chunk that is cut off', answer: ends(`${CHUNKED}5\r\nab`), input: { why: CLOSED }, receiver: 200 },
  { name: 'no last chunk', answer: ends(`${CHUNKED}2\r\nab\r\n`), input: { why: CLOSED }, receiver: 200 },
  {
    name: 'a chunk extension without end',
    answer: (socket) => flood(socket, `${CHUNKED}2;`, 'x'.repeat(65_536)),
    input: { why: 'it stopped sending' },
    receiver: 200,
    endless: true,
  },
  {
    name: 'trailers without end',
    answer: (socket) => flood(socket, `${CHUNKED}2\r\nab\r\n0\r\n`, 'x-t: 1\r\n'.repeat(100)),
    input: { why: LARGE_HEAD },
    receiver: 200,
  },

  // TLS.
  { ...refused('no TLS handshake', () => undefined, TIMED_OUT), endless: true, scheme: 'https' },
  {
    ...refused(
      'a TLS handshake that dribbles',
      (socket) => dribble(socket, '\x16\x03\x03\x40\x00', '\x02', 20),
      TIMED_OUT,
    ),
    endless: true,
    scheme: 'https',
  },
  {
    ...refused('HTTP instead of TLS', ends('HTTP/1.1 400 Bad Request\r\n\r\n'), 'the TLS handshake failed'),
    scheme: 'https',
  },
];

let server: RawServer;
afterEach(() => server.close());

const urlOf = (scheme: string) => `${scheme}://127.0.0.1:${server.port}/in.jsonl?token=SECRET`;
const timeOf = (endless: boolean | undefined, expected: unknown) =>
  !endless ? 60_000 : expected === TIMED_OUT ? SHORT_MS : ENOUGH_MS;

async function read(url: string, idleTimeoutMs: number): Promise<string> {
  const options = { allowPrivateNetworks: true, idleTimeoutMs, maxRedirects: 3, pausesMs: [] };
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await createHttpSource(options).open(url)).body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('a server that answers', () => {
  test.each(HOSTILE.map((row) => [row.name, row] as const))('%s gives no input but what HTTP says', async (_, row) => {
    const { answer, input, endless, scheme = 'http' } = row;
    server = await startRawServer({ answer });
    const text = await read(urlOf(scheme), timeOf(endless, 'why' in input ? input.why : 200)).catch(
      (error: unknown) => error,
    );
    if ('text' in input) expect(text).toBe(input.text);
    else {
      expect(text).toMatchObject({ name: 'InputRejected', code: 'input_file_unreachable' });
      expect((text as Error).message).toContain(input.why);
      expect((text as Error).message).not.toMatch(/in\.jsonl|SECRET/);
    }
    // Nothing stays open, and nobody takes a flood for longer than it needs to be seen as one.
    await server.deserted();
    if (!endless) expect(server.sentBytes()).toBeLessThan(32 * MIB);
  });

  test.each(HOSTILE.map((row) => [row.name, row] as const))(
    '%s to a notification is taken for what it is',
    async (_, row) => {
      const { answer, receiver, endless, scheme = 'http' } = row;
      server = await startRawServer({ answer });
      const timeoutMs = timeOf(endless, receiver);
      const told = await createReceiver({ allowPrivateNetworks: true }).post(urlOf(scheme), {
        headers: {},
        body: '{}',
        timeoutMs,
      });
      if (typeof receiver === 'number') expect(told).toEqual({ kind: 'answered', status: receiver });
      else expect(told).toEqual({ kind: 'unreachable', reason: expect.stringContaining(receiver) });
      expect(JSON.stringify(told)).not.toMatch(/in\.jsonl|SECRET/);
      await server.deserted();
      if (!endless) expect(server.sentBytes()).toBeLessThan(32 * MIB);
    },
  );

  test('a body that dribbles has answered a notification, and is left in time', async () => {
    server = await startRawServer({ answer: (socket) => dribble(socket, `${OK}\r\n`, 'x', 20) });
    const told = await createReceiver({ allowPrivateNetworks: true }).post(urlOf('http'), {
      headers: {},
      body: '{}',
      timeoutMs: ENOUGH_MS,
    });
    expect(told).toEqual({ kind: 'answered', status: 200 });
    await server.deserted();
  });

  test.each([
    ['plain', `${OK}\r\n`, 'x'.repeat(65_536)],
    ['in chunks', CHUNKED, `10000\r\n${'x'.repeat(65_536)}\r\n`],
    ['that calls itself gzip', `${OK}Content-Encoding: gzip\r\n\r\n`, 'x'.repeat(65_536)],
  ])('a body without end, %s, has answered a notification, and is not read on', async (_, start, piece) => {
    server = await startRawServer({ answer: (socket) => flood(socket, start, piece) });
    const told = await createReceiver({ allowPrivateNetworks: true }).post(urlOf('http'), {
      headers: {},
      body: '{}',
      timeoutMs: 60_000,
    });
    expect(told).toEqual({ kind: 'answered', status: 200 });
    await server.deserted();
    // 64 KiB are read; the rest lies in the buffers of two kernels' sockets.
    expect(server.sentBytes()).toBeLessThan(32 * MIB);
  });
});
