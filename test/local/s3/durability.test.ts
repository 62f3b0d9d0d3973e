import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { LOCAL_S3, startLocalS3 } from '../../support/localS3.ts';

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'local-s3-'));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

/** The server in a process of its own, so that it can be killed. */
async function startChild(): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(new URL('./s3Process.ts', import.meta.url), [dataDir]);
  const url = await new Promise<string>((resolve, reject) => {
    child.once('message', (message) => resolve(String(message)));
    child.once('exit', (code) => reject(new Error(`The server ended with ${code}.`)));
  });
  return { child, url };
}

const bodies = async () =>
  (await readdir(join(dataDir, 'bodies'), { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());

describe('after kill -9 in the middle of writes', () => {
  it('every acknowledged object is whole, none is half, and no orphan stays', async () => {
    const { child, url } = await startChild();
    const { region, credentials, bucket } = LOCAL_S3;
    const client = createS3Client({ region, credentials, endpoint: url, maxAttempts: 1 });
    const bodyOf = (n: number) => `${n}:`.padEnd(n % 3 === 0 ? 300_000 : 500, String(n % 10));
    const acknowledged: number[] = [];
    let next = 0;
    const writer = async () => {
      for (;;) {
        const n = next++;
        await client.send(new PutObjectCommand({ Bucket: bucket, Key: `object ${n}`, Body: bodyOf(n) }));
        acknowledged.push(n);
        // Mid-flight: the other writers have a body half sent.
        if (acknowledged.length === 150) child.kill('SIGKILL');
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: 8 }, writer));
    expect(ends.every((end) => end.status === 'rejected')).toBe(true);
    client.destroy();
    expect(acknowledged.length).toBeGreaterThanOrEqual(150);

    await writeFile(join(dataDir, 'bodies', '00', 'orphan'), 'left by a killed writer');
    const s3 = await startLocalS3({ dataDir });
    const read = async (key: string) => {
      const answer = await s3.client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
      return answer.Body?.transformToString();
    };
    const { Contents } = await s3.client.send(new ListObjectsV2Command({ Bucket: bucket }));
    const listed = new Set(Contents?.map((object) => object.Key));
    for (const n of acknowledged) expect(listed).toContain(`object ${n}`);
    for (const key of listed) expect(await read(key ?? '')).toBe(bodyOf(Number(key?.slice('object '.length))));
    const large = [...listed].filter((key) => Number(key?.slice('object '.length)) % 3 === 0);
    expect(await bodies()).toHaveLength(large.length);
    await s3.close();
  });
});

describe('a restart in order', () => {
  it('keeps objects, and uploads with their parts', async () => {
    const first = await startLocalS3({ dataDir });
    const at = { Bucket: first.bucket, Key: 'upload' };
    await first.client.send(new PutObjectCommand({ Bucket: first.bucket, Key: 'kept', Body: 'kept' }));
    const { UploadId } = await first.client.send(new CreateMultipartUploadCommand(at));
    await first.client.send(new UploadPartCommand({ ...at, UploadId, PartNumber: 1, Body: 'part' }));
    await first.close();

    const second = await startLocalS3({ dataDir });
    const got = await second.client.send(new GetObjectCommand({ Bucket: second.bucket, Key: 'kept' }));
    expect(await got.Body?.transformToString()).toBe('kept');
    const { Parts } = await second.client.send(new ListPartsCommand({ ...at, UploadId }));
    expect(Parts).toEqual([expect.objectContaining({ PartNumber: 1, Size: 4 })]);
    expect(await bodies()).toHaveLength(1);
    await second.close();
  });
});

describe('a client that goes away in the middle of a put', () => {
  it('leaves nothing behind', async () => {
    const s3 = await startLocalS3({ dataDir });
    const abort = new AbortController();
    const body = new ReadableStream({
      async pull(controller) {
        if ((await bodies()).length === 0) controller.enqueue(Buffer.alloc(1_000_000));
        // The server has begun to write: now the client goes.
        else abort.abort();
      },
    });
    const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
    const command = new PutObjectCommand({ Bucket: s3.bucket, Key: 'half', ContentLength: 4_000_000_000 });
    const url = await getSignedUrl(s3.client, command);
    await expect(
      fetch(url, {
        method: 'PUT',
        body,
        duplex: 'half',
        signal: abort.signal,
        headers: { 'content-length': '4000000000' },
      }),
    ).rejects.toThrow();
    await expect.poll(async () => (await bodies()).length, { timeout: 30_000 }).toBe(0);
    const { KeyCount } = await s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket }));
    expect(KeyCount).toBe(0);
    await s3.close();
  });
});
