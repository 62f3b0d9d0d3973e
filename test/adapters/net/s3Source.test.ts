import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createInputSource } from '../../../shared/adapters/net/inputSource.ts';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { createBatchBody } from '../../../shared/contract/batchRequests.ts';
import { SettingsSchema } from '../../../shared/contract/settings.ts';
import { sourcePorts } from '../../../shared/lambda/deps/network.ts';
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

  describe('of a URL that means to lead elsewhere', () => {
    const { bucket } = LOCAL_S3;
    const FORBIDDEN = [
      `s3://${bucket}@evil-bucket/key`,
      `s3://evil-bucket@${bucket}/key`,
      `s3://user:secret@${bucket}/key`,
      `s3://${bucket.toUpperCase()}/key`,
      `s3://${bucket}./key`,
      `s3://.${bucket}/key`,
      `s3://${bucket}:443/key`,
      `s3://${bucket}?/key`,
      `s3://${bucket}#/key`,
      `s3://${bucket}%2f..%2fevil-bucket/key`,
      `s3://${bucket}\\evil-bucket/key`,
      `s3://${bucket} /key`,
      's3://../evil-bucket/key',
      's3://arn:aws:s3:us-east-1:123456789012:accesspoint:evil/key',
      's3://arn:aws:s3:us-east-1:123456789012:accesspoint/evil/key',
      's3://arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/evil/key',
      's3://arn:aws:s3-outposts:us-east-1:123456789012:outpost/op-1/accesspoint/evil/key',
      's3://arn:aws:s3::123456789012:accesspoint:evil.mrap/key',
      's3://https://evil.test/key',
      `s3://${bucket}/../evil-bucket/key`,
      `s3://${bucket}/a/../../evil-bucket/key`,
      `s3://${bucket}/./key`,
      `s3://${bucket}/..`,
    ];
    // Names of buckets like any: which may be read is for the stage's list to say, where they are read.
    const OTHER_BUCKETS = [
      `s3://${bucket}.evil.test/key`,
      `s3://evil.${bucket}/key`,
      `s3://${bucket}--x-s3/key`,
      `s3://${bucket}-s3alias/key`,
      's3://169.254.169.254/latest/meta-data',
    ];
    const MALFORMED = [`s3:${bucket}/key`, `s3:///${bucket}/key`, `s3://${bucket}/`, `s3:\\\\${bucket}\\key`, `s3://`];

    test.each([
      ...FORBIDDEN.map((url) => [url, 400, 'input_file_forbidden'] as const),
      ...MALFORMED.map((url) => [url, 400, 'input_file_unreachable'] as const),
      ...OTHER_BUCKETS.map((url) => [url, 201, 'input_file_forbidden'] as const),
    ])('%j is created with %i, is %s, and S3 is not asked', async (url, created, code) => {
      const server = await startWebServer((_, response) => response.end('secret'));
      const client = createS3Client({ region: 'us-east-1', credentials: LOCAL_S3.credentials, endpoint: server.url });
      await expect(createInputSource({ ...options, s3Client: client }).open(url)).rejects.toMatchObject({ code });
      expect(server.connections).toBe(0);
      client.destroy();
      await server.close();
      const fields = { name: 'a', type: 'COMPLETIONS', input_file_url: url, callback_url: 'https://files.test/' };
      expect(createBatchBody({ allowPrivateNetworks: false }).safeParse(fields).success).toBe(created === 201);
    });

    test.each([
      [301, 'PermanentRedirect'],
      [307, 'TemporaryRedirect'],
    ])('a %i of the storage is not followed', async (status, code) => {
      const elsewhere = await startWebServer((_, response) => response.end('secret'));
      const server = await startWebServer((_, response) =>
        response
          .writeHead(status, { location: `${elsewhere.url}/key`, 'x-amz-bucket-region': 'eu-west-1' })
          .end(`<Error><Code>${code}</Code><Endpoint>127.0.0.1:${elsewhere.port}</Endpoint></Error>`),
      );
      const client = createS3Client({ region: 'us-east-1', credentials: LOCAL_S3.credentials, endpoint: server.url });
      const redirected = createInputSource({ ...options, s3Client: client });
      await expect(redirected.open(`s3://${bucket}/key`)).rejects.toMatchObject({
        code: 'input_file_unreachable',
        message: expect.stringContaining(`it answered ${status}`),
      });
      expect(server.connections).toBeGreaterThan(0);
      expect(elsewhere.connections).toBe(0);
      client.destroy();
      await Promise.all([server.close(), elsewhere.close()]);
    });
  });

  test("of the product's own bucket is refused, whatever the stage's list says", async () => {
    const settings = SettingsSchema.parse({ inputBuckets: [LOCAL_S3.bucket, 'other-bucket'] });
    const { sources } = sourcePorts(settings, LOCAL_S3.bucket);
    await expect(sources.open(`s3://${LOCAL_S3.bucket}/uploads/another-project/file_1`)).rejects.toMatchObject({
      code: 'input_file_forbidden',
    });
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
