import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { GetObjectCommand, type GetObjectCommandInput, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRange } from '../../../local/s3/range.ts';
import { type LocalS3, startLocalS3 } from '../../support/localS3.ts';

let s3: LocalS3;
const content = Buffer.from(Array.from({ length: 700_000 }, (_, n) => n % 251));
let etag: string;
beforeAll(async () => {
  s3 = await startLocalS3();
  etag = (await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'file', Body: content }))).ETag ?? '';
  await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'empty', Body: '' }));
});
afterAll(() => s3.close());

const get = async (input: Partial<GetObjectCommandInput>) => {
  const answer = await s3.client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: 'file', ...input }));
  return { ...answer, body: Buffer.from((await answer.Body?.transformToByteArray()) ?? []) };
};

describe('ranged reads', () => {
  it.each([
    ['bytes=0-0', 0, 1],
    ['bytes=10-19', 10, 20],
    ['bytes=699990-', 699_990, 700_000],
    ['bytes=699990-999999999', 699_990, 700_000],
    ['bytes=-5', 699_995, 700_000],
    ['bytes=-9999999', 0, 700_000],
    ['bytes=1000-600000', 1000, 600_001],
  ])('%s', async (Range, start, end) => {
    const answer = await get({ Range });
    expect(answer.$metadata.httpStatusCode).toBe(206);
    expect(answer.ContentRange).toBe(`bytes ${start}-${end - 1}/700000`);
    expect(answer.ContentLength).toBe(end - start);
    expect(answer.body.equals(content.subarray(start, end))).toBe(true);
  });

  it.each(['bytes=700000-', 'bytes=700000-700001', 'bytes=-0'])('%s holds nothing: 416', async (Range) => {
    await expect(get({ Range })).rejects.toMatchObject({
      name: 'InvalidRange',
      $metadata: { httpStatusCode: 416 },
      ActualObjectSize: '700000',
    });
  });

  it('no range of an empty object can be had', async () => {
    await expect(get({ Key: 'empty', Range: 'bytes=0-' })).rejects.toMatchObject({ name: 'InvalidRange' });
  });

  it.each(['bytes=5-4', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=-', 'bytes=a-b'])(
    '%s is no range: the whole file',
    async (Range) => {
      const answer = await get({ Range });
      expect(answer.$metadata.httpStatusCode).toBe(200);
      expect(answer.body.length).toBe(content.length);
    },
  );

  it('a parsed range lies in the object, whatever is asked for', () => {
    const bound = fc.option(fc.nat(50), { nil: undefined });
    fc.assert(
      fc.property(bound, bound, fc.integer({ min: 1, max: 40 }), (first, last, bytes) => {
        let range: ReturnType<typeof parseRange>;
        try {
          range = parseRange(`bytes=${first ?? ''}-${last ?? ''}`, bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'InvalidRange' });
          return;
        }
        if (!range) return;
        expect(range.start).toBeGreaterThanOrEqual(0);
        expect(range.end).toBeGreaterThan(range.start);
        expect(range.end).toBeLessThanOrEqual(bytes);
      }),
    );
  });
});

describe('conditional reads', () => {
  it('If-Match answers only what was meant, and comes before the range', async () => {
    expect((await get({ IfMatch: etag, Range: 'bytes=0-3' })).body.length).toBe(4);
    await expect(get({ IfMatch: '"0"' })).rejects.toMatchObject({ $metadata: { httpStatusCode: 412 } });
    await expect(get({ IfMatch: '"0"', Range: 'bytes=700000-' })).rejects.toMatchObject({
      $metadata: { httpStatusCode: 412 },
    });
  });

  it('If-None-Match answers 304 for what the client has', async () => {
    await expect(get({ IfNoneMatch: etag })).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } });
    expect((await get({ IfNoneMatch: '"0"' })).body.length).toBe(content.length);
  });

  it('dates are compared too', async () => {
    const past = new Date(0);
    const future = new Date(Date.now() + 60_000);
    await expect(get({ IfModifiedSince: future })).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } });
    await expect(get({ IfUnmodifiedSince: past })).rejects.toMatchObject({ $metadata: { httpStatusCode: 412 } });
    expect((await get({ IfModifiedSince: past, IfUnmodifiedSince: future })).body.length).toBe(content.length);
  });
});

describe('HeadObject', () => {
  it('tells size, ETag and time', async () => {
    const head = await s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: 'file' }));
    expect(head).toMatchObject({ ContentLength: 700_000, ETag: etag });
    expect(Math.abs(Date.now() - (head.LastModified?.getTime() ?? 0))).toBeLessThan(60_000);
  });

  it('answers 404 without a body', async () => {
    await expect(s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: 'nothing' }))).rejects.toMatchObject({
      name: 'NotFound',
      $metadata: { httpStatusCode: 404 },
    });
  });
});

it('a reader keeps the body that it began to read, though the object is replaced meanwhile', async () => {
  const old = Buffer.alloc(20_000_000, 'old');
  await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'busy', Body: old }));
  const answer = await s3.client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: 'busy' }));
  await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'busy', Body: 'new' }));
  const body = Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
  expect(body.equals(old)).toBe(true);
  expect((await get({ Key: 'busy' })).body.toString()).toBe('new');
});

it('readers side by side, slow ones and ones that break off, each get their own bytes', async () => {
  const bodies = Array.from({ length: 6 }, (_, n) => Buffer.alloc(6_000_000 + n, `body ${n}.`));
  for (const [n, Body] of bodies.entries())
    await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: `beside ${n}`, Body }));
  const open = async (n: number) => {
    const { Body } = await s3.client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: `beside ${n}` }));
    return Body as Readable;
  };
  const readSlowly = async (n: number) => {
    const chunks: Buffer[] = [];
    for await (const chunk of await open(n)) {
      chunks.push(Buffer.from(chunk));
      if (chunks.length % 16 === 0) await pause(1);
    }
    return Buffer.concat(chunks).equals(bodies[n] ?? Buffer.alloc(0));
  };
  const breakOff = async (n: number) => {
    for await (const _ of await open(n)) break;
    return true;
  };
  const readers = Array.from({ length: 24 }, (_, n) => (n % 3 === 0 ? breakOff(n % 6) : readSlowly(n % 6)));
  expect(await Promise.all(readers)).not.toContain(false);
});
