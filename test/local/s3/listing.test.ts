import {
  DeleteObjectsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startS3 } from '../../../local/s3/server.ts';
import { type LocalS3, startLocalS3 } from '../../support/localS3.ts';

let s3: LocalS3;
// In the order of their UTF-8 octets, which is not that of JavaScript's strings: U+FF5E sorts before U+1F600.
const KEYS = ['!', 'a', 'a/', 'a/1', 'a/2/x', 'a/2/y', 'a/b', 'a0', 'b/1', 'b/2', 'é', '～', '😀'];
beforeAll(async () => {
  s3 = await startLocalS3();
  for (const Key of KEYS.toReversed())
    await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key, Body: Key }));
});
afterAll(() => s3.close());

/** All pages, as keys and prefixes. */
async function list(input: Partial<ListObjectsV2CommandInput>) {
  const keys: string[] = [];
  const prefixes: string[] = [];
  let token: string | undefined;
  do {
    const page = await s3.client.send(
      new ListObjectsV2Command({ Bucket: s3.bucket, ...input, ContinuationToken: token }),
    );
    const [contents, common] = [page.Contents ?? [], page.CommonPrefixes ?? []];
    expect(page.KeyCount).toBe(contents.length + common.length);
    expect(page.KeyCount).toBeLessThanOrEqual(input.MaxKeys ?? 1000);
    keys.push(...contents.map((object) => object.Key ?? ''));
    prefixes.push(...common.map((prefix) => prefix.Prefix ?? ''));
    token = page.NextContinuationToken;
    expect(page.IsTruncated).toBe(token !== undefined);
  } while (token !== undefined);
  return { keys, prefixes };
}

/** What S3 documents, worked out on the whole set. */
function expected({ Prefix = '', Delimiter = '', StartAfter }: Partial<ListObjectsV2CommandInput>) {
  const after = (key: string) =>
    StartAfter === undefined || Buffer.compare(Buffer.from(key), Buffer.from(StartAfter)) > 0;
  const keys: string[] = [];
  const prefixes = new Set<string>();
  for (const key of KEYS.filter((candidate) => candidate.startsWith(Prefix) && after(candidate))) {
    const end = Delimiter === '' ? -1 : key.indexOf(Delimiter, Prefix.length);
    if (end < 0) keys.push(key);
    else if (!StartAfter?.startsWith(key.slice(0, end + Delimiter.length)))
      prefixes.add(key.slice(0, end + Delimiter.length));
  }
  return { keys, prefixes: [...prefixes] };
}

describe('ListObjectsV2', () => {
  it('lists by octets, with size and ETag', async () => {
    expect((await list({})).keys).toEqual(KEYS);
    const { Contents } = await s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket, Prefix: 'é' }));
    expect(Contents).toEqual([
      expect.objectContaining({ Key: 'é', Size: 2, ETag: expect.stringMatching(/^"[0-9a-f]{32}"$/) }),
    ]);
  });

  it('lists what is asked for in pages of any size', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('', 'a', 'a/', 'a/2', 'b/', 'none', '😀'),
        fc.constantFrom(undefined, '/', '2', 'a/'),
        fc.option(fc.constantFrom(...KEYS, 'a/2/', 'zz', ''), { nil: undefined }),
        fc.integer({ min: 1, max: 15 }),
        async (Prefix, Delimiter, StartAfter, MaxKeys) => {
          const input = {
            Prefix,
            MaxKeys,
            ...(Delimiter === undefined ? {} : { Delimiter }),
            ...(StartAfter ? { StartAfter } : {}),
          };
          expect(await list(input)).toEqual(expected(input));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('encodes keys where it is asked to', async () => {
    const page = await s3.client.send(
      new ListObjectsV2Command({ Bucket: s3.bucket, Prefix: 'é', EncodingType: 'url' }),
    );
    expect(page).toMatchObject({ EncodingType: 'url', Prefix: '%C3%A9', Contents: [{ Key: '%C3%A9' }] });
  });

  it('lists nothing for max-keys 0, and refuses a token and a count that are none', async () => {
    const send = (input: Partial<ListObjectsV2CommandInput>) =>
      s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket, ...input }));
    expect(await send({ MaxKeys: 0 })).toMatchObject({ KeyCount: 0, IsTruncated: false });
    await expect(send({ ContinuationToken: 'not/one' })).rejects.toMatchObject({ name: 'InvalidArgument' });
    await expect(send({ MaxKeys: -1 })).rejects.toMatchObject({ name: 'InvalidArgument' });
    await expect(send({ Bucket: 'other' })).rejects.toMatchObject({ name: 'NoSuchBucket' });
  });
});

describe('DeleteObjects', () => {
  it('deletes keys of any shape, those that are not there too, and answers each', async () => {
    const keys = ['to delete/<&>"\'', 'to delete/\u0001', 'to delete/ünï', 'to delete/nothing'];
    for (const Key of keys.slice(0, 3))
      await s3.client.send(new PutObjectCommand({ Bucket: s3.bucket, Key, Body: 'x' }));
    const { Deleted } = await s3.client.send(
      new DeleteObjectsCommand({ Bucket: s3.bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }),
    );
    expect(Deleted?.length).toBe(4);
    expect((await list({ Prefix: 'to delete/' })).keys).toEqual([]);
    expect((await list({})).keys).toEqual(KEYS);
  });

  it('refuses more than 1,000 keys and a version of one', async () => {
    const remove = (Objects: { Key: string; VersionId?: string }[]) =>
      s3.client.send(new DeleteObjectsCommand({ Bucket: s3.bucket, Delete: { Objects } }));
    await expect(remove(Array.from({ length: 1001 }, (_, n) => ({ Key: `${n}` })))).rejects.toMatchObject({
      name: 'MalformedXML',
    });
    await expect(remove([{ Key: 'a', VersionId: '1' }])).rejects.toMatchObject({ name: 'NotImplemented' });
  });
});

it('a bucket name that S3 would refuse is refused', async () => {
  const { url: _url, ...server } = await startS3({
    dataDir: `${s3.dataDir}/other`,
    region: 'us-east-1',
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
  });
  for (const name of ['', 'ab', 'Capital', '../up', 'a/b', '-dash'])
    expect(() => server.createBucket(name)).toThrow('not valid');
  await server.close();
});
