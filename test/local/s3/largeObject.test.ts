import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { createFileStore } from '../../../shared/adapters/s3/fileStore.ts';
import { LOCAL_S3 } from '../../support/localS3.ts';

const SIZE = 500_000_000;
// Node itself takes about 80 MB. What is on top are socket buffers and write batches that wait for their collection,
// however large the object is.
const MAX_RSS_BYTES = 300_000_000;

let dataDir: string;
let child: ChildProcess;
let client: S3Client;
const message = () => new Promise<unknown>((resolve) => child.once('message', resolve));

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'local-s3-'));
  child = fork(new URL('./s3Process.ts', import.meta.url), [dataDir]);
  const { region, credentials } = LOCAL_S3;
  client = createS3Client({ region, credentials, endpoint: String(await message()) });
});
afterAll(async () => {
  client.destroy();
  child.kill();
  await rm(dataDir, { recursive: true, force: true });
});

const peakBytes = async () => {
  const answer = message();
  child.send('peak');
  return Number(await answer);
};

/** The same bytes each time: a block, counted up. */
function* blocks(): Generator<Buffer> {
  const block = Buffer.alloc(1_000_000, 'a line of an input file\n');
  for (let n = 0; n < SIZE / block.length; n++) {
    const next = Buffer.from(block);
    next.writeUInt32BE(n);
    yield next;
  }
}
const expected = () => {
  const hash = createHash('sha1');
  for (const block of blocks()) hash.update(block);
  return hash.digest('hex');
};
async function digest(source: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha1');
  for await (const chunk of source) hash.update(chunk);
  return hash.digest('hex');
}

describe('an object of 500 MB', () => {
  it('is put as one chunked stream, read whole and in ranges, and uploaded in parts, in flat memory', async () => {
    const at = { Bucket: LOCAL_S3.bucket, Key: 'large' };
    await client.send(
      new PutObjectCommand({ ...at, Body: Readable.from(blocks()), ContentLength: SIZE, ChecksumAlgorithm: 'CRC32' }),
    );
    const wanted = expected();
    const answer = await client.send(new GetObjectCommand(at));
    // In Node the SDK's body is a stream.
    expect(await digest(answer.Body as Readable)).toBe(wanted);

    const files = createFileStore({ client, bucket: LOCAL_S3.bucket });
    const upload = await files.upload('in parts');
    for (const block of blocks()) await upload.write(block);
    expect((await upload.complete()).bytes).toBe(SIZE);
    expect(await digest(await files.read('in parts'))).toBe(wanted);
    expect(await digest(await files.read('in parts', { start: 100, end: 64_000_100 }))).toBe(
      await digest(await files.read('large', { start: 100, end: 64_000_100 })),
    );
    expect(await peakBytes()).toBeLessThan(MAX_RSS_BYTES);
  });
});
