import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { gmacOf, LOCAL_S3, type LocalS3, startLocalS3 } from '../../support/localS3.ts';

let s3: LocalS3;
beforeAll(async () => {
  s3 = await startLocalS3();
});
afterAll(() => s3.close());

// Larger than what the index keeps itself, so that it is a file.
const BODY = 'body'.repeat(10_000);

const etagOf = (body: Uint8Array | string) => `"${gmacOf(body)}"`;
const put = (key: string, input: Partial<PutObjectCommandInput> = {}) =>
  s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: key, Body: BODY, ...input }));
const get = async (key: string) => {
  const answer = await s3.client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: key }));
  return { ...answer, body: Buffer.from((await answer.Body?.transformToByteArray()) ?? []) };
};
const bodiesOnDisk = () =>
  readdirSync(join(s3.dataDir, 'bodies'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .length;

describe('PutObject', () => {
  it('gives back what was put, with its headers and metadata', async () => {
    const answer = await put('whole', {
      Body: 'Grüße',
      ContentType: 'text/plain; charset=utf-8',
      ContentEncoding: 'gzip',
      ContentDisposition: 'inline',
      CacheControl: 'no-store',
      Metadata: { origin: 'test', 'with-dash': 'two words' },
    });
    expect(answer.ETag).toBe(etagOf('Grüße'));
    expect(await get('whole')).toMatchObject({
      body: Buffer.from('Grüße'),
      ETag: etagOf('Grüße'),
      ContentType: 'text/plain; charset=utf-8',
      ContentEncoding: 'gzip',
      ContentDisposition: 'inline',
      CacheControl: 'no-store',
      Metadata: { origin: 'test', 'with-dash': 'two words' },
      AcceptRanges: 'bytes',
    });
  });

  it('takes an empty body', async () => {
    const answer = await put('empty', { Body: '', ChecksumAlgorithm: 'CRC32' });
    expect(answer).toMatchObject({ ETag: etagOf(''), ChecksumCRC32: 'AAAAAA==' });
    expect(await get('empty')).toMatchObject({ ContentLength: 0, ContentType: 'application/octet-stream' });
  });

  it.each(['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const)(
    'takes a stream in chunks with a %s trailer, and keeps the checksum',
    async (ChecksumAlgorithm) => {
      const bytes = Buffer.alloc(300_001, 'chunk');
      const Body = Readable.from([bytes.subarray(0, 1), bytes.subarray(1, 200_000), bytes.subarray(200_000)]);
      const answer = await put('stream', { Body, ContentLength: bytes.length, ChecksumAlgorithm });
      expect(answer.ETag).toBe(etagOf(bytes));
      const head = await s3.client.send(
        new HeadObjectCommand({ Bucket: s3.bucket, Key: 'stream', ChecksumMode: 'ENABLED' }),
      );
      expect(head[`Checksum${ChecksumAlgorithm}`]).toBe(answer[`Checksum${ChecksumAlgorithm}`]);
      expect(head.ChecksumType).toBe('FULL_OBJECT');
      const got = await get('stream');
      expect(got.body.equals(bytes)).toBe(true);
      expect(got.ContentEncoding).toBeUndefined();
    },
  );

  it("satisfies the SDK's own checks with its default settings", async () => {
    const client = createS3Client({
      endpoint: s3.url,
      region: LOCAL_S3.region,
      credentials: LOCAL_S3.credentials,
      requestChecksumCalculation: 'WHEN_SUPPORTED',
      responseChecksumValidation: 'WHEN_SUPPORTED',
    });
    const body = 'x'.repeat(100_000);
    await client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'defaults', Body: body }));
    const answer = await client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: 'defaults' }));
    expect(await answer.Body?.transformToString()).toBe(body);
    expect(answer.ChecksumCRC32).toBeDefined();
    client.destroy();
  });

  it.each([
    ['Content-MD5', { ContentMD5: createHash('md5').update('other').digest('base64') }, 'BadDigest'],
    ['CRC32', { ChecksumCRC32: 'AAAAAA==' }, 'BadDigest'],
    ['CRC32C', { ChecksumCRC32C: 'AAAAAA==' }, 'BadDigest'],
    ['CRC64NVME', { ChecksumCRC64NVME: 'AAAAAAAAAAA=' }, 'BadDigest'],
    ['SHA1', { ChecksumSHA1: createHash('sha1').update('other').digest('base64') }, 'BadDigest'],
    ['SHA256', { ChecksumSHA256: createHash('sha256').update('other').digest('base64') }, 'BadDigest'],
    ['Content-MD5 that is none', { ContentMD5: 'nonsense' }, 'InvalidDigest'],
    ['CRC32 that is none', { ChecksumCRC32: 'nonsense' }, 'InvalidRequest'],
  ])('refuses a wrong %s and keeps nothing', async (_, input, name) => {
    const before = bodiesOnDisk();
    await expect(put('wrong', input)).rejects.toMatchObject({ name, $metadata: { httpStatusCode: 400 } });
    await expect(get('wrong')).rejects.toMatchObject({ name: 'NoSuchKey' });
    expect(bodiesOnDisk()).toBe(before);
  });

  it('replaces an object, and the old body leaves the disk', async () => {
    await put('replaced');
    const before = bodiesOnDisk();
    await put('replaced', { Body: 'x'.repeat(50_000) });
    expect((await get('replaced')).body.toString()).toBe('x'.repeat(50_000));
    expect(bodiesOnDisk()).toBe(before);
    await put('replaced', { Body: 'small' });
    expect(bodiesOnDisk()).toBe(before - 1);
    expect((await get('replaced')).body.toString()).toBe('small');
  });

  it('refuses metadata over 2 KB, a key over 1,024 bytes and a bucket that is not there', async () => {
    await expect(put('fat', { Metadata: { fat: 'x'.repeat(2048) } })).rejects.toMatchObject({
      name: 'MetadataTooLarge',
    });
    await expect(put('k'.repeat(1025))).rejects.toMatchObject({ name: 'KeyTooLongError' });
    await expect(put('é'.repeat(512))).resolves.toBeDefined();
    await expect(put('key', { Bucket: 'other-bucket' })).rejects.toMatchObject({ name: 'NoSuchBucket' });
  });

  it('names what it does not implement', async () => {
    await expect(put('tagged', { Tagging: 'a=b' })).rejects.toMatchObject({
      name: 'NotImplemented',
      message: expect.stringContaining('PutObject with x-amz-tagging'),
    });
  });
});

describe('conditional writes', () => {
  it('If-None-Match: * makes an object once', async () => {
    await put('once', { IfNoneMatch: '*' });
    await expect(put('once', { IfNoneMatch: '*', Body: 'again' })).rejects.toMatchObject({
      name: 'PreconditionFailed',
      $metadata: { httpStatusCode: 412 },
    });
    expect((await get('once')).body.toString()).toBe(BODY);
  });

  it('of many writers at once, one wins', async () => {
    const writers = Array.from({ length: 20 }, (_, n) => put('race', { IfNoneMatch: '*', Body: `writer ${n}` }));
    const ends = await Promise.allSettled(writers);
    expect(ends.filter((end) => end.status === 'fulfilled')).toHaveLength(1);
  });

  it('If-Match replaces only what was read', async () => {
    const { ETag } = await put('guarded', { Body: 'one' });
    await expect(put('guarded', { IfMatch: '"0"', Body: 'two' })).rejects.toMatchObject({ name: 'PreconditionFailed' });
    await put('guarded', { IfMatch: ETag, Body: 'two' });
    await expect(put('guarded', { IfMatch: ETag, Body: 'three' })).rejects.toMatchObject({
      name: 'PreconditionFailed',
    });
    await expect(put('not there', { IfMatch: ETag })).rejects.toMatchObject({ name: 'NoSuchKey' });
    expect((await get('guarded')).body.toString()).toBe('two');
  });

  it('If-Match guards a delete too', async () => {
    const { ETag } = await put('doomed');
    const remove = (IfMatch: string | undefined) =>
      s3.client.send(new DeleteObjectCommand({ Bucket: s3.bucket, Key: 'doomed', IfMatch }));
    await expect(remove('"0"')).rejects.toMatchObject({ name: 'PreconditionFailed' });
    await remove(ETag);
    await expect(get('doomed')).rejects.toMatchObject({ name: 'NoSuchKey' });
  });
});
