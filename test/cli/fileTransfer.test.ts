import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { fetchFile } from '../../cli/fileTransfer.ts';

const folder = mkdtempSync(join(tmpdir(), 'batch-api-transfer-'));
/** More than sockets and streams hold between them, so that what a broken connection brought is on disk. */
const CONTENT = Buffer.from('0123456789abcdef'.repeat(1024 * 512));

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A server that scripts each answer. */
async function serve(...answers: ((request: IncomingMessage, response: ServerResponse) => void)[]) {
  const ranges: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    (answers[ranges.length - 1] ?? whole)(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, ranges };
}

/** What S3 answers, with a range or without. */
function whole({ headers }: IncomingMessage, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': CONTENT.length - from }).end(CONTENT.subarray(from));
}
const brokenAfter = (bytes: number) => (_: IncomingMessage, response: ServerResponse) => {
  response.writeHead(200, { 'content-length': CONTENT.length });
  response.write(CONTENT.subarray(0, bytes));
  // In order, behind what was written: a reset would take it along.
  response.socket?.end();
};
const status = (code: number) => (_: IncomingMessage, response: ServerResponse) => {
  response.writeHead(code).end('no');
};

describe('a download', () => {
  test('that breaks off goes on where it was, by a fresh URL', async () => {
    const { url, ranges } = await serve(brokenAfter(CONTENT.length / 2), status(403), whole);
    const path = join(folder, 'broken');
    let asked = 0;
    await fetchFile(path, async () => `${url}?${++asked}`, CONTENT.length);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
    expect(ranges[0]).toBeUndefined();
    expect(ranges.at(-1)).toMatch(/^bytes=[1-9]\d*-$/);
    expect(asked).toBe(3);
  });

  test('goes on where an earlier one ended, and asks for nothing where that was the end', async () => {
    const { url, ranges } = await serve();
    const path = join(folder, 'earlier');
    writeFileSync(path, CONTENT.subarray(0, 123));
    await fetchFile(path, async () => url, CONTENT.length);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
    await fetchFile(path, async () => url, CONTENT.length);
    expect(ranges).toEqual(['bytes=123-']);
  });

  test('starts over where a server knows no ranges, or more is there than there should be', async () => {
    const { url } = await serve((request, response) => {
      delete request.headers.range;
      whole(request, response);
    });
    const path = join(folder, 'over');
    writeFileSync(path, 'other');
    await fetchFile(path, async () => url, CONTENT.length);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
    writeFileSync(path, Buffer.concat([CONTENT, CONTENT]));
    await fetchFile(path, async () => url, CONTENT.length);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
  });

  test('of unknown size takes what the first answer announces', async () => {
    const { url } = await serve(brokenAfter(CONTENT.length / 2));
    const path = join(folder, 'unknown');
    writeFileSync(path, 'of another time');
    await fetchFile(path, async () => url);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
  });

  test('that is refused says so at once', async () => {
    const { url, ranges } = await serve(status(404));
    await expect(fetchFile(join(folder, 'refused'), async () => url, 5)).rejects.toThrow(/broke off: 404 no/);
    expect(ranges).toHaveLength(1);
  });
});
