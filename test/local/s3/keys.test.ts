import { readdirSync } from 'node:fs';
import { request } from 'node:http';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LocalS3, startLocalS3 } from '../../support/localS3.ts';

let s3: LocalS3;
beforeAll(async () => {
  s3 = await startLocalS3();
});
afterAll(() => s3.close());

const at = (Key: string) => ({ Bucket: s3.bucket, Key });

const AWKWARD = [
  'with space',
  'plus+and%percent',
  '100%25 done',
  'double//slash',
  '/leading',
  'trailing/',
  'a/../../b',
  '..',
  '../../../../tmp/escaped',
  './here',
  'unicode/日本語/emoji 😀',
  'quotes"\'`',
  'query?x=1&y=2#hash',
  "reserved !*'();:@&=+$,/[]",
  'back\\slash',
  'tab\tand\nnewline',
  '<xml>&amp;</xml>',
  'k'.repeat(1024),
];

/** Plain HTTP with the target exactly as it is: `fetch` would tidy up `..`. */
const plain = (method: string, url: string, body?: string) =>
  new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
    const { origin, port, hostname } = new URL(url);
    const sent = request({ hostname, port, method, path: url.slice(origin.length) }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString() }));
    });
    sent.on('error', reject);
    sent.end(body);
  });

describe('a key of any shape', () => {
  it.each(AWKWARD)('%j is put, read, copied, listed, signed and deleted', async (key) => {
    await s3.client.send(new PutObjectCommand({ ...at(key), Body: key }));
    const got = await s3.client.send(new GetObjectCommand(at(key)));
    expect(await got.Body?.transformToString()).toBe(key);
    const url = await getSignedUrl(s3.client, new GetObjectCommand(at(key)));
    expect(await plain('GET', url)).toEqual({ status: 200, text: key });
    const upload = await getSignedUrl(s3.client, new PutObjectCommand(at(key)));
    expect((await plain('PUT', upload, 'signed')).status).toBe(200);
    const CopySource = encodeURIComponent(`${s3.bucket}/${key}`);
    await s3.client.send(new CopyObjectCommand({ ...at('the copy'), CopySource }));
    const copy = await s3.client.send(new GetObjectCommand(at('the copy')));
    expect(await copy.Body?.transformToString()).toBe('signed');
    const { Contents } = await s3.client.send(
      new ListObjectsV2Command({ Bucket: s3.bucket, Prefix: key, EncodingType: 'url' }),
    );
    expect(Contents?.map((object) => decodeURIComponent(object.Key ?? ''))).toEqual([key]);
    await s3.client.send(new DeleteObjectCommand(at(key)));
    await expect(s3.client.send(new HeadObjectCommand(at(key)))).rejects.toMatchObject({ name: 'NotFound' });
  });

  it('never reaches the file system: all that is in the data folder is the index and bodies under ids', async () => {
    for (const key of AWKWARD) await s3.client.send(new PutObjectCommand({ ...at(key), Body: 'x'.repeat(40_000) }));
    const names = readdirSync(s3.dataDir, { recursive: true, withFileTypes: true });
    for (const entry of names)
      expect(entry.name).toMatch(/^(bodies|index\.sqlite(-wal|-shm|-journal)?|[0-9a-f]{2}|[0-9a-f-]{36})$/);
    expect(names.filter((entry) => entry.name.length === 36)).toHaveLength(AWKWARD.length);
  });

  it('stays itself, whatever it is', async () => {
    const key = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
      .filter((text) => text.isWellFormed() && Buffer.byteLength(text) <= 1024);
    await fc.assert(
      fc.asyncProperty(key, async (Key) => {
        await s3.client.send(new PutObjectCommand({ ...at(Key), Body: Key }));
        const got = await s3.client.send(new GetObjectCommand(at(Key)));
        expect(await got.Body?.transformToString()).toBe(Key);
      }),
      { numRuns: 60 },
    );
  });

  it('that is no UTF-8 is refused', async () => {
    expect(await plain('GET', `${s3.url}/${s3.bucket}/%ff`)).toMatchObject({
      status: 400,
      text: expect.stringContaining('InvalidURI'),
    });
  });
});
