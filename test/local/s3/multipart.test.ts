import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  GetObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gmacOf as etagOf, type LocalS3, startLocalS3 } from '../../support/localS3.ts';

let s3: LocalS3;
beforeAll(async () => {
  s3 = await startLocalS3();
});
afterAll(() => s3.close());

const MIB = 1024 * 1024;

const partOf = (letter: string, bytes = 5 * MIB) => Buffer.alloc(bytes, letter);
const at = (Key: string) => ({ Bucket: s3.bucket, Key });

async function create(key: string, input: Partial<CreateMultipartUploadCommandInput> = {}): Promise<string> {
  const { UploadId } = await s3.client.send(new CreateMultipartUploadCommand({ ...at(key), ...input }));
  return UploadId ?? '';
}
async function upload(key: string, UploadId: string, PartNumber: number, Body: Buffer): Promise<CompletedPart> {
  const { ETag } = await s3.client.send(new UploadPartCommand({ ...at(key), UploadId, PartNumber, Body }));
  return { PartNumber, ETag };
}
const complete = (
  key: string,
  UploadId: string,
  Parts: CompletedPart[],
  input: { IfNoneMatch?: string; IfMatch?: string } = {},
) => s3.client.send(new CompleteMultipartUploadCommand({ ...at(key), UploadId, MultipartUpload: { Parts }, ...input }));
const read = async (key: string, Range?: string) => {
  const answer = await s3.client.send(new GetObjectCommand({ ...at(key), Range }));
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
};
const bodiesOnDisk = () =>
  readdirSync(join(s3.dataDir, 'bodies'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .length;

describe('a multipart upload', () => {
  it('is one object in the order of the part numbers, with the ETag of its parts', async () => {
    const id = await create('joined', { ContentType: 'application/jsonl', Metadata: { by: 'parts' } });
    const [first, second, last] = [partOf('a'), partOf('b', 6 * MIB), Buffer.from('tail')];
    const parts = await Promise.all([
      upload('joined', id, 2, second),
      upload('joined', id, 7, last),
      upload('joined', id, 1, first),
    ]);
    parts.sort((left, right) => (left.PartNumber ?? 0) - (right.PartNumber ?? 0));
    const { ETag } = await complete('joined', id, parts);
    expect(ETag).toBe(`"${etagOf(Buffer.from([first, second, last].map(etagOf).join(''), 'hex'))}-3"`);
    const whole = Buffer.concat([first, second, last]);
    expect((await read('joined')).equals(whole)).toBe(true);
    const across = [5 * MIB - 3, 11 * MIB + 2] as const;
    expect((await read('joined', `bytes=${across[0]}-${across[1] - 1}`)).equals(whole.subarray(...across))).toBe(true);
    expect(await s3.client.send(new HeadObjectCommand(at('joined')))).toMatchObject({
      ContentLength: whole.length,
      ContentType: 'application/jsonl',
      Metadata: { by: 'parts' },
      ETag,
    });
  });

  it('is invisible until completed, and leaves nothing when aborted', async () => {
    const before = bodiesOnDisk();
    const id = await create('aborted');
    await upload('aborted', id, 1, partOf('a'));
    await expect(read('aborted')).rejects.toMatchObject({ name: 'NoSuchKey' });
    await s3.client.send(new AbortMultipartUploadCommand({ ...at('aborted'), UploadId: id }));
    expect(bodiesOnDisk()).toBe(before);
    await expect(upload('aborted', id, 2, partOf('b'))).rejects.toMatchObject({ name: 'NoSuchUpload' });
    await expect(complete('aborted', id, [{ PartNumber: 1, ETag: '"x"' }])).rejects.toMatchObject({
      name: 'NoSuchUpload',
      $metadata: { httpStatusCode: 404 },
    });
  });

  it('keeps only the parts that are named, and the newest of a number', async () => {
    const before = bodiesOnDisk();
    const id = await create('replaced');
    await upload('replaced', id, 1, partOf('x'));
    const parts = [await upload('replaced', id, 1, partOf('a'))];
    await upload('replaced', id, 2, partOf('unused'));
    await complete('replaced', id, parts);
    expect((await read('replaced')).equals(partOf('a'))).toBe(true);
    expect(bodiesOnDisk()).toBe(before + 1);
  });

  it('refuses a small part that is not the last, naming it', async () => {
    const id = await create('small');
    const parts = [await upload('small', id, 1, partOf('a', 5 * MIB - 1)), await upload('small', id, 2, partOf('b'))];
    await expect(complete('small', id, parts)).rejects.toMatchObject({ name: 'EntityTooSmall', PartNumber: '1' });
  });

  it('refuses parts that are unknown, changed, out of order, or none', async () => {
    const id = await create('bad parts');
    const [one, two] = [await upload('bad parts', id, 1, partOf('a')), await upload('bad parts', id, 2, partOf('b'))];
    await expect(complete('bad parts', id, [one, { ...two, ETag: '"0"' }])).rejects.toMatchObject({
      name: 'InvalidPart',
    });
    await expect(complete('bad parts', id, [one, { ...two, PartNumber: 3 }])).rejects.toMatchObject({
      name: 'InvalidPart',
    });
    await expect(complete('bad parts', id, [two, one])).rejects.toMatchObject({ name: 'InvalidPartOrder' });
    await expect(complete('bad parts', id, [])).rejects.toMatchObject({ name: 'MalformedXML' });
    await expect(upload('bad parts', id, 10_001, partOf('a'))).rejects.toMatchObject({ name: 'InvalidArgument' });
    await expect(upload('other key', id, 1, partOf('a'))).rejects.toMatchObject({ name: 'NoSuchUpload' });
  });

  it('honours conditions when it completes, and can be completed after a 412', async () => {
    const { ETag } = await s3.client.send(new PutObjectCommand({ ...at('taken'), Body: 'there' }));
    const id = await create('taken');
    const parts = [await upload('taken', id, 1, partOf('a'))];
    await expect(complete('taken', id, parts, { IfNoneMatch: '*' })).rejects.toMatchObject({
      name: 'PreconditionFailed',
      $metadata: { httpStatusCode: 412 },
    });
    await expect(complete('taken', id, parts, { IfMatch: '"0"' })).rejects.toMatchObject({
      name: 'PreconditionFailed',
    });
    await complete('taken', id, parts, { IfMatch: ETag ?? '' });
    expect((await read('taken')).length).toBe(5 * MIB);
  });

  it('completed twice at once is completed once', async () => {
    const id = await create('twice');
    const parts = [await upload('twice', id, 1, partOf('a'))];
    const ends = await Promise.allSettled([complete('twice', id, parts), complete('twice', id, parts)]);
    expect(ends.filter((end) => end.status === 'fulfilled')).toHaveLength(1);
    expect((await read('twice')).equals(partOf('a'))).toBe(true);
  });

  it('lists its parts page by page', async () => {
    const id = await create('listed');
    for (const n of [3, 1, 2]) await upload('listed', id, n, Buffer.from(`part ${n}`));
    const list = (PartNumberMarker?: string) =>
      s3.client.send(new ListPartsCommand({ ...at('listed'), UploadId: id, MaxParts: 2, PartNumberMarker }));
    const first = await list();
    expect(first).toMatchObject({ IsTruncated: true, NextPartNumberMarker: '2', MaxParts: 2 });
    const second = await list(first.NextPartNumberMarker);
    expect(second.IsTruncated).toBe(false);
    expect([...(first.Parts ?? []), ...(second.Parts ?? [])].map((part) => [part.PartNumber, part.Size])).toEqual([
      [1, 6],
      [2, 6],
      [3, 6],
    ]);
  });
});

describe('checksums of multipart uploads', () => {
  it.each(['CRC32', 'SHA256'] as const)('COMPOSITE %s is made of the parts and wanted with each', async (algorithm) => {
    const id = await create('composite', { ChecksumAlgorithm: algorithm });
    const parts: CompletedPart[] = [];
    for (const [PartNumber, Body] of [
      [1, partOf('a')],
      [2, Buffer.from('b')],
    ] as const) {
      const sent = await s3.client.send(
        new UploadPartCommand({ ...at('composite'), UploadId: id, PartNumber, Body, ChecksumAlgorithm: algorithm }),
      );
      const name = `Checksum${algorithm}` as const;
      parts.push({ PartNumber, ETag: sent.ETag, [name]: sent[name] });
    }
    const bare = parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
    await expect(complete('composite', id, bare)).rejects.toMatchObject({ name: 'InvalidRequest' });
    const done = await complete('composite', id, parts);
    expect(done[`Checksum${algorithm}`]).toMatch(/^[A-Za-z0-9+/=]+-2$/);
    expect(done.ChecksumType).toBe('COMPOSITE');
  });

  it('a part without the checksum of its upload is refused', async () => {
    const id = await create('mismatch', { ChecksumAlgorithm: 'CRC32' });
    await expect(upload('mismatch', id, 1, partOf('a'))).rejects.toMatchObject({ name: 'InvalidRequest' });
  });

  it('FULL_OBJECT CRC64NVME is that of the whole', async () => {
    const id = await create('full', { ChecksumAlgorithm: 'CRC64NVME' });
    const parts: CompletedPart[] = [];
    for (const [PartNumber, Body] of [
      [1, partOf('a')],
      [2, Buffer.from('b')],
    ] as const) {
      const input = { ...at('full'), UploadId: id, PartNumber, Body, ChecksumAlgorithm: 'CRC64NVME' } as const;
      const { ETag } = await s3.client.send(new UploadPartCommand(input));
      parts.push({ PartNumber, ETag });
    }
    const done = await complete('full', id, parts);
    const whole = await s3.client.send(
      new PutObjectCommand({
        ...at('full in one'),
        Body: Buffer.concat([partOf('a'), Buffer.from('b')]),
        ChecksumAlgorithm: 'CRC64NVME',
      }),
    );
    expect(done).toMatchObject({ ChecksumType: 'FULL_OBJECT', ChecksumCRC64NVME: whole.ChecksumCRC64NVME });
  });

  it("lib-storage's Upload works with the SDK's settings", async () => {
    const Body = Buffer.alloc(12 * MIB, 'lib-storage');
    await new Upload({ client: s3.client, params: { ...at('by lib-storage'), Body } }).done();
    expect((await read('by lib-storage')).equals(Body)).toBe(true);
  });
});

describe('copies', () => {
  it('CopyObject copies body, headers and metadata, or replaces the latter', async () => {
    await s3.client.send(
      new PutObjectCommand({ ...at('source é+%/x'), Body: 'copied', ContentType: 'text/plain', Metadata: { a: '1' } }),
    );
    const CopySource = `${s3.bucket}/${encodeURIComponent('source é+%/x')}`;
    const { CopyObjectResult } = await s3.client.send(new CopyObjectCommand({ ...at('copy'), CopySource }));
    expect(CopyObjectResult?.ETag).toBe(`"${etagOf('copied')}"`);
    expect(await s3.client.send(new HeadObjectCommand(at('copy')))).toMatchObject({
      ContentType: 'text/plain',
      Metadata: { a: '1' },
    });
    await s3.client.send(
      new CopyObjectCommand({ ...at('copy'), CopySource, MetadataDirective: 'REPLACE', Metadata: { b: '2' } }),
    );
    expect((await s3.client.send(new HeadObjectCommand(at('copy')))).Metadata).toEqual({ b: '2' });
    expect((await read('copy')).toString()).toBe('copied');
    await expect(
      s3.client.send(new CopyObjectCommand({ ...at('copy'), CopySource, CopySourceIfMatch: '"0"' })),
    ).rejects.toMatchObject({ name: 'PreconditionFailed' });
    await expect(
      s3.client.send(new CopyObjectCommand({ ...at('copy'), CopySource: `${s3.bucket}/nothing` })),
    ).rejects.toMatchObject({ name: 'NoSuchKey' });
  });

  it('UploadPartCopy takes a range of another object as a part', async () => {
    const source = Buffer.concat([partOf('a'), partOf('b')]);
    await s3.client.send(new PutObjectCommand({ ...at('source'), Body: source }));
    const id = await create('copied part');
    const copy = (PartNumber: number, CopySourceRange?: string) =>
      s3.client.send(
        new UploadPartCopyCommand({
          ...at('copied part'),
          UploadId: id,
          PartNumber,
          CopySource: `${s3.bucket}/source`,
          CopySourceRange,
        }),
      );
    const one = await copy(1, `bytes=100-${6 * MIB + 99}`);
    const two = await copy(2);
    await expect(copy(3, `bytes=0-${10 * MIB}`)).rejects.toMatchObject({ name: 'InvalidArgument' });
    await expect(copy(3, 'bytes=5-')).rejects.toMatchObject({ name: 'InvalidArgument' });
    await complete('copied part', id, [
      { PartNumber: 1, ETag: one.CopyPartResult?.ETag },
      { PartNumber: 2, ETag: two.CopyPartResult?.ETag },
    ]);
    const expected = Buffer.concat([source.subarray(100, 6 * MIB + 100), source]);
    expect((await read('copied part')).equals(expected)).toBe(true);
  });
});
