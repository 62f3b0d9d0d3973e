import { randomBytes } from 'node:crypto';
import { Agent } from 'node:http';
import { createServer, type Server, Socket } from 'node:net';
import { AbortMultipartUploadCommand, ListObjectsV2Command, ListPartsCommand } from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createS3Client } from '../../shared/adapters/s3/client.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { partSize } from '../../shared/adapters/s3/multipart.ts';
import { FileChanged, FileMissing, type FileStore } from '../../shared/ports.ts';
import { LOCAL_S3, type LocalS3, startLocalS3 } from '../support/localS3.ts';

const MIB = 1024 * 1024;
let s3: LocalS3;
let files: FileStore;
beforeAll(async () => {
  s3 = await startLocalS3();
  files = createFileStore({ client: s3.client, bucket: s3.bucket });
});
afterAll(() => s3.close());

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}
const readAll = async (key: string) => collect(await files.read(key));

describe('put, info and read', () => {
  it('gives back what was put', async () => {
    const { etag } = await files.put('a/b.jsonl', '{"ü":1}\n', 'application/jsonl');
    expect(await files.info('a/b.jsonl')).toEqual({ bytes: 9, etag, modifiedAt: expect.any(Number) });
    expect((await readAll('a/b.jsonl')).toString()).toBe('{"ü":1}\n');
    expect((await files.readSmall('a/b.jsonl', 9))?.toString()).toBe(Buffer.from('{"ü":1}\n').toString());
  });

  it('an empty file can be read again and again: none of it keeps a connection', async () => {
    await files.put('read often', '');
    for (let reads = 0; reads < 60; reads++) expect((await readAll('read often')).length).toBe(0);
  });

  it('an empty file is a file', async () => {
    const { etag } = await files.put('empty', '');
    expect(await files.info('empty')).toEqual({ bytes: 0, etag, modifiedAt: expect.any(Number) });
    expect((await readAll('empty')).length).toBe(0);
    expect(await collect(await files.read('empty', { start: 0, end: 10 }))).toHaveLength(0);
    expect(await files.readSmall('empty', 0)).toHaveLength(0);
  });

  it('what is not there: info and readSmall say undefined, read throws FileMissing', async () => {
    expect(await files.info('nothing')).toBeUndefined();
    expect(await files.readSmall('nothing', 10)).toBeUndefined();
    await expect(files.read('nothing')).rejects.toThrow(FileMissing);
    await expect(files.read('nothing', { start: 5, end: 5 })).rejects.toThrow(FileMissing);
  });

  it('a passing read gives the same bytes, and keeps no chunk that was passed', async () => {
    const content = randomBytes(3 * MIB);
    await files.put('passing', content);
    const chunks: Uint8Array[] = [];
    let at = 5;
    for await (const chunk of await files.read('passing', { start: 5, end: 3 * MIB - 5, passing: true })) {
      expect(content.subarray(at, at + chunk.length).equals(chunk)).toBe(true);
      at += chunk.length;
      chunks.push(chunk);
    }
    expect(at).toBe(3 * MIB - 5);
    const kept = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    expect(kept).toBeLessThan(0.1 * MIB);
  });

  it('readSmall refuses a file over its bound', async () => {
    await files.put('eleven', 'eleven byte');
    await expect(files.readSmall('eleven', 10)).rejects.toThrow('more than 10 bytes');
  });

  it('reads any range as a slice of the file', async () => {
    const content = randomBytes(1000);
    await files.put('sliced', content);
    const bound = fc.option(fc.nat(1100), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(bound, bound, async (start, end) => {
        const options = { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
        const expected = content.subarray(start ?? 0, Math.max(end ?? 1000, start ?? 0));
        expect((await collect(await files.read('sliced', options))).equals(expected)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('reads only the version that is meant', async () => {
    const { etag } = await files.put('versioned', 'one');
    expect((await collect(await files.read('versioned', { ifMatch: etag }))).toString()).toBe('one');
    await files.put('versioned', 'two');
    await expect(files.read('versioned', { ifMatch: etag })).rejects.toThrow(FileChanged);
    await expect(files.read('versioned', { ifMatch: etag, start: 3, end: 3 })).rejects.toThrow(FileChanged);
    await expect(files.read('versioned', { ifMatch: etag, start: 100 })).rejects.toThrow(FileChanged);
  });

  it('a reader that stops early frees its connection', async () => {
    await files.put('long', randomBytes(5 * MIB));
    // More readers than the client has connections: each that held on to one would starve the last.
    for (let n = 0; n < 60; n++) for await (const chunk of await files.read('long')) if (chunk.length > 0) break;
    expect((await readAll('long')).length).toBe(5 * MIB);
  });
});

describe('upload', () => {
  const write = async (key: string, chunks: Buffer[], partBytes?: number) => {
    const upload = await files.upload(key, { contentType: 'application/jsonl', ...(partBytes ? { partBytes } : {}) });
    for (const chunk of chunks) await upload.write(chunk);
    return upload.complete();
  };

  it.each([
    ['nothing', []],
    ['one byte', [1]],
    ['exactly one part', [5 * MIB]],
    ['one byte more than a part', [5 * MIB, 1]],
    ['exactly two parts in odd chunks', [3 * MIB, 4 * MIB, 3 * MIB]],
    ['one chunk of several parts', [17 * MIB]],
    ['many chunks', Array.from({ length: 200 }, () => 70_001)],
  ])('of %s', async (name, sizes) => {
    const content = randomBytes(sizes.reduce((sum, size) => sum + size, 0));
    let from = 0;
    const chunks = sizes.map((size) => {
      const chunk = content.subarray(from, from + size);
      from += size;
      return chunk;
    });
    const done = await write(`upload of ${name}`, chunks, 5 * MIB);
    expect(done.bytes).toBe(content.length);
    expect(await files.info(`upload of ${name}`)).toMatchObject(done);
    expect((await readAll(`upload of ${name}`)).equals(content)).toBe(true);
  });

  it('keeps what was written, though the writer uses its buffer again', async () => {
    const upload = await files.upload('reused', { partBytes: 5 * MIB });
    const chunk = Buffer.alloc(MIB);
    for (let n = 0; n < 12; n++) await upload.write(chunk.fill(n));
    await upload.complete();
    const content = await readAll('reused');
    for (let n = 0; n < 12; n++) expect(content[n * MIB + 5]).toBe(n);
  });

  it('is not there before it completes, and not after it is aborted', async () => {
    const upload = await files.upload('aborted', { partBytes: 5 * MIB });
    await upload.write(randomBytes(12 * MIB));
    expect(await files.info('aborted')).toBeUndefined();
    await upload.abort();
    expect(await files.info('aborted')).toBeUndefined();
    await expect(upload.write(Buffer.from('x'))).rejects.toThrow('has ended');
    await expect(upload.complete()).rejects.toThrow('has ended');
  });

  it('goes on elsewhere from where it was suspended, wherever that was', async () => {
    const content = randomBytes(23 * MIB);
    const cuts = [0, 1, 3 * MIB, 3 * MIB + 1, 9 * MIB, 14 * MIB, 20 * MIB, 23 * MIB];
    let upload = await files.upload('suspended', { partBytes: 5 * MIB });
    let from = 0;
    for (const cut of cuts) {
      await upload.write(content.subarray(from, cut));
      from = cut;
      const state = await upload.suspend();
      expect(state.bytes).toBe(cut);
      expect(state.tail.length).toBeLessThan(5 * MIB);
      await expect(upload.write(Buffer.from('x'))).rejects.toThrow('has ended');
      upload = await files.upload('suspended', { partBytes: 5 * MIB, resume: structuredClone(state) });
    }
    expect((await upload.complete()).bytes).toBe(content.length);
    expect((await readAll('suspended')).equals(content)).toBe(true);
  });

  it('a part that was sent after the state was taken does not count', async () => {
    const content = randomBytes(10 * MIB);
    const upload = await files.upload('zombie', { partBytes: 5 * MIB });
    await upload.write(content.subarray(0, 5 * MIB));
    const state = await upload.suspend();
    const zombie = await files.upload('zombie', { partBytes: 5 * MIB, resume: state });
    await zombie.write(randomBytes(5 * MIB));
    await zombie.suspend();
    const resumed = await files.upload('zombie', { partBytes: 5 * MIB, resume: state });
    await resumed.write(content.subarray(5 * MIB));
    await resumed.complete();
    expect((await readAll('zombie')).equals(content)).toBe(true);
  });

  it('an empty upload can be suspended and completed', async () => {
    const state = await (await files.upload('empty upload')).suspend();
    expect(state).toMatchObject({ parts: 0, bytes: 0 });
    const upload = await files.upload('empty upload', { resume: state });
    expect((await upload.complete()).bytes).toBe(0);
    expect(await files.info('empty upload')).toMatchObject({ bytes: 0 });
  });

  it('cannot be resumed once it is gone', async () => {
    const state = await (await files.upload('gone')).suspend();
    await s3.client.send(new AbortMultipartUploadCommand({ Bucket: s3.bucket, Key: 'gone', UploadId: state.uploadId }));
    await expect(files.upload('gone', { resume: state })).rejects.toThrow(FileMissing);
  });

  it('that the store refuses throws and leaves nothing behind', async () => {
    const upload = await files.upload('refused', { partBytes: 5 * MIB });
    await upload.write(randomBytes(6 * MIB));
    const { uploadId } = await (await files.upload('refused')).suspend();
    // Takes the upload away under it.
    const state = await upload.suspend();
    const resumed = await files.upload('refused', { partBytes: 5 * MIB, resume: state });
    await s3.client.send(
      new AbortMultipartUploadCommand({ Bucket: s3.bucket, Key: 'refused', UploadId: state.uploadId }),
    );
    await resumed.write(randomBytes(5 * MIB));
    await expect(resumed.complete()).rejects.toMatchObject({ name: 'NoSuchUpload' });
    expect(await files.info('refused')).toBeUndefined();
    await s3.client.send(new ListPartsCommand({ Bucket: s3.bucket, Key: 'refused', UploadId: uploadId }));
  });

  it('10,000 parts suffice for the largest object of S3', () => {
    let bytes = 0;
    for (let n = 1; n <= 10_000; n++) bytes += partSize(5 * MIB, n);
    // 5 TB, which AWS counts in powers of ten here.
    expect(bytes).toBeGreaterThan(5e12);
    expect(partSize(8 * MIB, 1000)).toBe(8 * MIB);
  });
});

describe('deletes', () => {
  /** As many at once as the client has connections. */
  const putAll = async (keys: string[]) => {
    for (let from = 0; from < keys.length; from += 50)
      await Promise.all(keys.slice(from, from + 50).map((key) => files.put(key, 'x')));
  };

  it('more files than one request takes, and files that are not there', async () => {
    const keys = Array.from({ length: 1003 }, (_, n) => `many/${n} & <${n}>`);
    await putAll(keys);
    await files.delete([...keys, 'many/nothing']);
    expect(await files.info(keys[0] ?? '')).toBeUndefined();
    expect(await files.info(keys[1002] ?? '')).toBeUndefined();
    await files.delete([]);
  });

  it('what begins with a prefix, and nothing else', async () => {
    const inside = Array.from({ length: 1005 }, (_, n) => `parts/p/b1/${n}`);
    const outside = ['parts/p/b', 'parts/p/b10/1', 'parts/p/b2/1'];
    await putAll([...inside, ...outside]);
    await files.deletePrefix('parts/p/b1/');
    const { Contents } = await s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket, Prefix: 'parts/' }));
    expect(Contents?.map((object) => object.Key)).toEqual(outside);
    await files.deletePrefix('parts/none/');
  });
});

describe('signed URLs', () => {
  it('one uploads exactly what it names, one downloads it', async () => {
    const upload = await files.signUpload('signed', { expiresSeconds: 60, bytes: 3, contentType: 'application/jsonl' });
    const headers = { 'content-type': 'application/jsonl' };
    expect((await fetch(upload, { method: 'PUT', body: 'four', headers })).status).toBe(403);
    expect((await fetch(upload, { method: 'PUT', body: 'one', headers })).status).toBe(200);
    const download = await files.signDownload('signed', { expiresSeconds: 60, fileName: 'output.jsonl' });
    const answer = await fetch(download);
    expect(await answer.text()).toBe('one');
    expect(answer.headers.get('content-disposition')).toContain('filename="output.jsonl"');
  });

  it('put a file of any type, or of none, where none was named; the size holds', async () => {
    const url = await files.signUpload('signed for any type', { expiresSeconds: 60, bytes: 3 });
    expect(new URL(url).searchParams.get('X-Amz-SignedHeaders')).toBe('content-length;host');
    // The last is what curl --data sends by itself.
    for (const type of [undefined, 'application/jsonl', 'application/x-www-form-urlencoded']) {
      const headers = type === undefined ? {} : { 'content-type': type };
      // Bytes, since fetch gives a text a type of its own.
      expect((await fetch(url, { method: 'PUT', body: Buffer.from('one'), headers })).status).toBe(200);
      expect((await fetch(url, { method: 'PUT', body: Buffer.from('four'), headers })).status).toBe(403);
    }
  });

  it('are not made by a client that would sign a checksum into them', async () => {
    const client = createS3Client({ ...LOCAL_S3, requestChecksumCalculation: 'WHEN_SUPPORTED' });
    const store = createFileStore({ client, bucket: s3.bucket });
    await expect(store.signUpload('x', { expiresSeconds: 60, bytes: 1, contentType: 'a/b' })).rejects.toThrow();
    client.destroy();
  });
});

describe('a read over a connection that breaks', () => {
  let proxy: Server;
  /** For each connection, after how many bytes of the answer it is cut. */
  let cutAfter: number[] = [];
  let connections = 0;
  let broken: FileStore;
  const content = randomBytes(3 * MIB);

  beforeAll(async () => {
    const port = Number(new URL(s3.url).port);
    proxy = createServer((client) => {
      connections++;
      const limit = cutAfter.shift() ?? Number.POSITIVE_INFINITY;
      let sent = 0;
      const server = new Socket().connect(port, '127.0.0.1');
      client.pipe(server);
      server.on('data', (chunk) => {
        const rest = limit - sent;
        sent += chunk.length;
        if (chunk.length < rest) client.write(chunk);
        else client.end(chunk.subarray(0, rest), () => client.destroy());
      });
      server.on('end', () => client.end());
      for (const socket of [client, server]) {
        socket.on('error', () => undefined);
        socket.on('close', () => {
          client.destroy();
          server.destroy();
        });
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const address = proxy.address();
    const proxyPort = typeof address === 'object' ? address?.port : undefined;
    const { region, credentials } = LOCAL_S3;
    // A connection each, so that each request meets the next cut.
    const requestHandler = { httpAgent: new Agent({ keepAlive: false }) };
    const client = createS3Client({ region, credentials, endpoint: `http://127.0.0.1:${proxyPort}`, requestHandler });
    broken = createFileStore({ client, bucket: s3.bucket });
    await files.put('fragile', content);
  });
  afterAll(() => {
    proxy.close();
  });

  it('goes on from the byte where it broke', async () => {
    cutAfter = [1 * MIB, 100_000, 700_000];
    connections = 0;
    expect((await collect(await broken.read('fragile'))).equals(content)).toBe(true);
    expect(connections).toBe(4);
  });

  it('goes on within its range', async () => {
    cutAfter = [500_000, 500_000];
    const range = { start: 1000, end: 2 * MIB };
    expect((await collect(await broken.read('fragile', range))).equals(content.subarray(1000, 2 * MIB))).toBe(true);
  });

  it('never goes on in another version of the file', async () => {
    await files.put('swapped', content);
    cutAfter = [1 * MIB];
    const source = await broken.read('swapped');
    await files.put('swapped', randomBytes(3 * MIB));
    await expect(collect(source)).rejects.toThrow(FileChanged);
  });

  it('gives up when it does not get any further', async () => {
    // Headers take about 500 bytes: each connection is cut before the body begins.
    cutAfter = [1 * MIB, ...Array.from({ length: 100 }, () => 10)];
    connections = 0;
    await expect(collect(await broken.read('fragile'))).rejects.toThrow();
    expect(connections).toBeLessThan(40);
  });
});
