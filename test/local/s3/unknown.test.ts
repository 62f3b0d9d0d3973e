import {
  GetBucketLocationCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  PutObjectTaggingCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startS3 } from '../../../local/s3/server.ts';
import { LOCAL_S3, type LocalS3, startLocalS3 } from '../../support/localS3.ts';

let s3: LocalS3;
beforeAll(async () => {
  s3 = await startLocalS3();
});
afterAll(() => s3.close());

it('what is not implemented says so by name', async () => {
  const refused = (name: string) =>
    expect.objectContaining({
      name: 'NotImplemented',
      Operation: name,
      $metadata: expect.objectContaining({ httpStatusCode: 501 }),
    });
  const at = { Bucket: s3.bucket, Key: 'x' };
  await expect(s3.client.send(new GetObjectAclCommand(at))).rejects.toEqual(refused('GET on an object'));
  await expect(s3.client.send(new ListObjectsCommand({ Bucket: s3.bucket }))).rejects.toEqual(
    refused('GET on a bucket'),
  );
  await expect(s3.client.send(new GetBucketLocationCommand({ Bucket: s3.bucket }))).rejects.toMatchObject({
    message: expect.stringContaining('location'),
  });
  await expect(s3.client.send(new ListBucketsCommand({}))).rejects.toEqual(refused('ListBuckets'));
  await expect(s3.client.send(new PutObjectTaggingCommand({ ...at, Tagging: { TagSet: [] } }))).rejects.toMatchObject({
    message: expect.stringContaining('tagging'),
  });
  await expect(s3.client.send(new GetObjectCommand({ ...at, PartNumber: 1 }))).rejects.toMatchObject({
    message: expect.stringContaining('GetObject with partNumber'),
  });
});

it('HeadBucket tells whether a bucket is there', async () => {
  await s3.client.send(new HeadBucketCommand({ Bucket: s3.bucket }));
  await expect(s3.client.send(new HeadBucketCommand({ Bucket: 'no-bucket' }))).rejects.toMatchObject({
    $metadata: { httpStatusCode: 404 },
  });
});

it('a data folder is had by one server at a time, which is said', async () => {
  const { region, credentials } = LOCAL_S3;
  await expect(startS3({ dataDir: s3.dataDir, region, credentials })).rejects.toThrow('in use by another process');
});
