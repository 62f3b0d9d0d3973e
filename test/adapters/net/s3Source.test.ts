import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createInputSource } from '../../../shared/adapters/net/inputSource.ts';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import type { InputSource } from '../../../shared/ports.ts';
import { LOCAL_S3, type LocalS3, startLocalS3 } from '../../support/localS3.ts';
import { startWebServer } from '../../support/webServer.ts';

let s3: LocalS3;
let source: InputSource;
const options = {
  allowPrivateNetworks: false,
  inputBuckets: [LOCAL_S3.bucket, 'missing-bucket'],
  idleTimeoutMs: 300,
  maxRedirects: 3,
};

beforeAll(async () => {
  s3 = await startLocalS3();
  source = createInputSource({ ...options, s3Client: s3.client });
  for (const Key of ['input.jsonl', 'käse 100%?#1.jsonl', 'packed.jsonl.gz']) {
    await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key, Body: '0123456789' }));
  }
});
afterAll(() => s3.close());

async function text(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('an input file in a bucket', () => {
  test('is read with its length and validator', async () => {
    const opened = await source.open(`s3://${s3.bucket}/input.jsonl`);
    expect(opened).toMatchObject({ bytes: 10, etag: expect.any(String), acceptsRanges: true, gzip: false });
    expect(await text(opened.body)).toBe('0123456789');
  });

  test('is read from the middle on, while it is the same file', async () => {
    const { etag = '', body } = await source.open(`s3://${s3.bucket}/input.jsonl`);
    await text(body);
    const opened = await source.open(`s3://${s3.bucket}/input.jsonl`, { start: 4, ifRange: etag });
    expect(opened.bytes).toBe(10);
    expect(await text(opened.body)).toBe('456789');
    await expect(
      source.open(`s3://${s3.bucket}/input.jsonl`, { start: 4, ifRange: '"another"' }),
    ).rejects.toMatchObject({ code: 'input_file_changed' });
  });

  test('has its key taken as it stands', async () => {
    const opened = await source.open(`s3://${s3.bucket}/käse 100%?#1.jsonl`);
    expect(await text(opened.body)).toBe('0123456789');
  });

  test('is known to be gzip by its name', async () => {
    const { gzip, body } = await source.open(`s3://${s3.bucket}/packed.jsonl.gz`);
    await text(body);
    expect(gzip).toBe(true);
  });

  test.each([
    ['of a bucket that is not on the list', 's3://other-bucket/input.jsonl', 'input_file_forbidden'],
    ['that is not there', `s3://${LOCAL_S3.bucket}/none.jsonl`, 'input_file_unreachable'],
    ['of a bucket that is not there', 's3://missing-bucket/input.jsonl', 'input_file_unreachable'],
    ['without a key', `s3://${LOCAL_S3.bucket}`, 'input_file_unreachable'],
    ['of another scheme', 'gopher://host/file', 'input_file_unreachable'],
  ])('%s is refused', async (_, url, code) => {
    await expect(source.open(url)).rejects.toMatchObject({ code });
  });

  test.each([
    ['answers nothing', () => undefined],
    [
      'stops in the middle',
      (response: import('node:http').ServerResponse) => {
        response.writeHead(200, { 'content-length': 10 });
        response.write('01234');
      },
    ],
  ])('behind a storage that %s is unreachable', async (_, behave) => {
    const server = await startWebServer((__, response) => behave(response));
    const client = createS3Client({ region: 'us-east-1', credentials: LOCAL_S3.credentials, endpoint: server.url });
    const stalled = createInputSource({ ...options, s3Client: client });
    const read = async () => text((await stalled.open(`s3://${LOCAL_S3.bucket}/input.jsonl`)).body);
    await expect(read()).rejects.toMatchObject({ code: 'input_file_unreachable' });
    client.destroy();
    await server.close();
  });
});
