import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { BatchHead } from '../../../shared/domain/batch.ts';
import { fetchInput } from '../../../shared/usecases/fetchInput.ts';
import { validateInput } from '../../../shared/usecases/validateInput.ts';
import { type InputDeps, type InputSteps, startInputSteps } from '../../support/inputSteps.ts';
import { dribble, flood, type RawServer, startRawServer } from '../../support/rawServer.ts';

const MIB = 1024 * 1024;
const OK = 'HTTP/1.1 200 OK\r\n';
const RANGES = 'Accept-Ranges: bytes\r\nETag: "v1"\r\n';

let steps: InputSteps;
let server: RawServer;
beforeAll(async () => {
  steps = await startInputSteps();
});
afterAll(() => steps.close());
afterEach(() => server.close());

async function batchOf(behaviour: Parameters<typeof startRawServer>[0], path = '/in.jsonl'): Promise<BatchHead> {
  server = await startRawServer(behaviour);
  return steps.createBatch({ inputFileUrl: `http://127.0.0.1:${server.port}${path}?token=SECRET` });
}

const run = ({ projectId, batchId }: BatchHead) => ({ version: 1 as const, projectId, batchId, attempt: 1 });

async function expectRejected(
  head: BatchHead,
  code: string,
  message: RegExp,
  { deps = steps.deps, remainingMs = () => 900_000 }: { deps?: InputDeps; remainingMs?: () => number } = {},
): Promise<void> {
  expect((await fetchInput(deps, run(head), { remainingMs })).next).toBe('finalize');
  const { errors } = await steps.detail(head);
  expect(errors).toEqual([{ code, line: null, message: expect.stringMatching(message), param: 'input_file_url' }]);
  expect(errors[0]?.message).not.toMatch(/SECRET|in\.jsonl/);
  expect((await steps.head(head)).input).toBeUndefined();
  // Nobody is listened to any longer.
  await server.deserted();
}

/** An invocation that has used up its 14 minutes after `ms`. */
const shortly = (ms: number) => {
  const end = Date.now() + ms;
  return () => (Date.now() < end ? 900_000 : 59_000);
};

describe('gzip', () => {
  const deps = () => steps.with({ limits: { inputBytes: 8 * MIB } });

  it('that unpacks without end is refused at the limit, and not read on', async () => {
    // A kilobyte holds a megabyte.
    const member = gzipSync(Buffer.alloc(MIB, ' \n'));
    const head = await batchOf({ answer: (socket) => flood(socket, `${OK}\r\n`, member) });
    await expectRejected(head, 'file_too_large', /8388608 bytes/, { deps: deps() });
    // What the sockets' buffers hold by themselves; unpacked it would be gigabytes.
    expect(server.sentBytes()).toBeLessThan(32 * MIB);
  });

  it.each([
    ['of members that hold nothing', '', gzipSync('')],
    ['whose name has no end', Buffer.from([0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3]), Buffer.alloc(65_536, 'x')],
    [
      'of blocks that hold nothing',
      Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
      Buffer.alloc(50_000, '\0\0\0\xff\xff', 'latin1'),
    ],
  ])('%s, without end, is refused by its packed size', async (_name, start, piece) => {
    const head = await batchOf({
      answer: (socket) => {
        socket.write(`${OK}\r\n`);
        socket.write(start);
        flood(socket, '', piece);
      },
    });
    await expectRejected(head, 'file_too_large', /1048576 bytes/, {
      deps: steps.with({ limits: { inputBytes: MIB } }),
    });
    expect(server.sentBytes()).toBeLessThan(32 * MIB);
  });

  it('that announces more than is allowed is refused before it is read', async () => {
    const head = await batchOf({
      answer: (socket) => flood(socket, `${OK}Content-Length: ${9 * MIB}\r\n\r\n`, gzipSync(Buffer.alloc(MIB))),
    });
    await expectRejected(head, 'file_too_large', /8388608 bytes/, { deps: deps() });
  });

  it('inside gzip is unpacked once: what comes out is no line', async () => {
    const bomb = gzipSync(gzipSync(Buffer.alloc(64 * MIB)));
    const head = await batchOf({
      answer: (socket) => void socket.end(Buffer.concat([Buffer.from(`${OK}Content-Encoding: gzip\r\n\r\n`), bomb])),
    });
    expect((await fetchInput(steps.deps, run(head), { remainingMs: () => 900_000 })).next).toBe('validate');
    expect((await steps.head(head)).input?.bytes).toBeLessThan(MIB);
    expect((await validateInput(steps.deps, run(head), { remainingMs: () => 900_000 })).next).toBe('finalize');
    expect((await steps.detail(head)).errors[0]).toMatchObject({ code: 'invalid_utf8' });
  });
});

describe('a source', () => {
  it.each([
    ['without a length', `${OK}\r\n`, 'x'.repeat(65_535)],
    ['in chunks', `${OK}Transfer-Encoding: chunked\r\n\r\n`, `10000\r\n${'x'.repeat(65_536)}\r\n`],
    ['that it says can be resumed', `${OK}${RANGES}\r\n`, 'x'.repeat(65_535)],
  ])('without end, %s, is refused at the limit', async (_name, start, piece) => {
    const head = await batchOf({ answer: (socket) => flood(socket, start, piece) });
    await expectRejected(head, 'file_too_large', /1048576 bytes/, {
      deps: steps.with({ limits: { inputBytes: MIB } }),
    });
    expect(server.sentBytes()).toBeLessThan(32 * MIB);
  });

  it('that dribbles is left when the time is up', async () => {
    const head = await batchOf({ answer: (socket) => dribble(socket, `${OK}\r\n`, 'x', 5) });
    await expectRejected(head, 'input_file_unreachable', /in the time there is/, { remainingMs: shortly(500) });
  });

  it('that dribbles and can be resumed is not gone on with for ever', async () => {
    const head = await batchOf({ answer: (socket) => dribble(socket, `${OK}${RANGES}\r\n`, 'x', 5) });
    const deps = steps.with({ fetch: { minBytesPerSecond: 16_384 } });
    await expectRejected(head, 'input_file_unreachable', /too slowly: \d+ bytes/, { deps, remainingMs: shortly(500) });
  });

  it('that breaks off after each byte is not gone on with for ever either', async () => {
    const size = 1_000_000;
    let requests = 0;
    const head = await batchOf({
      answer: (socket, request) => {
        requests++;
        const start = Number(/range: bytes=(\d+)-/i.exec(request)?.[1] ?? 0);
        const range = start > 0 ? `Content-Range: bytes ${start}-${size - 1}/${size}\r\n` : '';
        const status = start > 0 ? 'HTTP/1.1 206 Partial Content\r\n' : OK;
        // Two bytes: the first has been read before.
        socket.end(`${status}${RANGES}${range}Content-Length: ${size - start}\r\n\r\nxx`);
      },
    });
    const deps = steps.with({ fetch: { minBytesPerSecond: 16_384 } });
    await expectRejected(head, 'input_file_unreachable', /too slowly: \d+ bytes/, { deps, remainingMs: shortly(500) });
    expect(requests).toBeGreaterThan(2);
  });

  it('that is silent, or redirects at its leisure, is left when the time is up', async () => {
    const silent = await batchOf({ answer: () => undefined });
    await expectRejected(silent, 'input_file_unreachable', /in the time there is/, { remainingMs: shortly(200) });
    await server.close();
    const leisurely = await batchOf({
      answer: (socket) => void setTimeout(() => socket.end('HTTP/1.1 302 Found\r\nLocation: /more\r\n\r\n'), 1_000),
    });
    await expectRejected(leisurely, 'input_file_unreachable', /in the time there is/, { remainingMs: shortly(1_200) });
  });
});
