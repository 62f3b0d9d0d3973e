import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { FileMissing, type FileStore } from '../../ports.ts';
import { DEFAULT_PART_BYTES, openUpload, requireEtag } from './multipart.ts';
import { readRange } from './rangedRead.ts';

// S3 API reference, DeleteObjects: up to 1,000 keys a request.
const DELETE_BATCH = 1000;
const DEFAULT_CONTENT_TYPE = 'application/octet-stream';

/** The bucket by S3. `client` is made by `createS3Client`: pre-signing needs its way with checksums. */
export function createFileStore({ client, bucket }: { client: S3Client; bucket: string }): FileStore {
  async function deleteBatch(keys: string[]): Promise<void> {
    if (keys.length === 0) return;
    const { Errors } = await client.send(
      new DeleteObjectsCommand({
        Bucket: bucket,
        Delete: { Quiet: true, Objects: keys.map((Key) => ({ Key })) },
        ChecksumAlgorithm: 'CRC32',
      }),
    );
    const [first] = Errors ?? [];
    if (first)
      throw new Error(`S3 deleted all but ${Errors?.length} of ${keys.length} files: ${first.Key}: ${first.Code}`);
  }

  const store: FileStore = {
    async info(key) {
      try {
        const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
        return {
          bytes: head.ContentLength ?? 0,
          etag: requireEtag(head.ETag, key),
          modifiedAt: head.LastModified?.getTime() ?? 0,
          ...(head.ContentEncoding ? { contentEncoding: head.ContentEncoding } : {}),
        };
      } catch (error) {
        if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404) return undefined;
        throw error;
      }
    },

    read: (key, options = {}) => readRange({ client, bucket, key }, options),

    async readSmall(key, maxBytes) {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      try {
        for await (const chunk of await store.read(key)) {
          bytes += chunk.length;
          if (bytes > maxBytes) throw new Error(`The file ${key} has more than ${maxBytes} bytes.`);
          chunks.push(chunk);
        }
      } catch (error) {
        if (error instanceof FileMissing) return undefined;
        throw error;
      }
      return Buffer.concat(chunks);
    },

    async put(key, body, contentType = DEFAULT_CONTENT_TYPE) {
      const bytes = typeof body === 'string' ? Buffer.from(body) : body;
      const { ETag, $metadata } = await client.send(
        new PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: bytes,
          ContentLength: bytes.length,
          ContentType: contentType,
          ChecksumAlgorithm: 'CRC32',
        }),
      );
      const { attempts } = $metadata;
      return { etag: requireEtag(ETag, key), ...(attempts === undefined ? {} : { attempts }) };
    },

    upload(key, { contentType = DEFAULT_CONTENT_TYPE, partBytes = DEFAULT_PART_BYTES, resume } = {}) {
      return openUpload({ client, bucket, key, contentType, partBytes }, resume);
    },

    async delete(keys) {
      for (let from = 0; from < keys.length; from += DELETE_BATCH)
        await deleteBatch(keys.slice(from, from + DELETE_BATCH));
    },

    async deletePrefix(prefix) {
      let after: string | undefined;
      do {
        const page = await client.send(
          new ListObjectsV2Command({
            Bucket: bucket,
            Prefix: prefix,
            ...(after === undefined ? {} : { StartAfter: after }),
          }),
        );
        const keys = (page.Contents ?? []).flatMap((object) => object.Key ?? []);
        await deleteBatch(keys);
        after = page.IsTruncated ? keys.at(-1) : undefined;
      } while (after !== undefined);
    },

    signDownload: (key, { expiresSeconds, fileName }) =>
      getSignedUrl(
        client,
        new GetObjectCommand({
          Bucket: bucket,
          Key: key,
          ResponseContentDisposition: contentDisposition(fileName),
        }),
        { expiresIn: expiresSeconds },
      ),

    async signUpload(key, { expiresSeconds, bytes, contentType }) {
      if ((await client.config.requestChecksumCalculation()) !== 'WHEN_REQUIRED')
        throw new Error('A client that adds checksums by itself signs that of an empty body into an upload URL.');
      return getSignedUrl(
        client,
        new PutObjectCommand({
          Bucket: bucket,
          Key: key,
          ContentLength: bytes,
          ...(contentType === undefined ? {} : { ContentType: contentType }),
        }),
        {
          expiresIn: expiresSeconds,
          // The pre-signer leaves both out unless told: then a URL would take any size and any type. A type that is
          // signed must be sent as it is, so one that nobody named is not.
          signableHeaders: new Set(['host', 'content-length', ...(contentType === undefined ? [] : ['content-type'])]),
        },
      );
    },
  };
  return store;
}

/** RFC 6266: a plain name for old clients, and the whole one in UTF-8. */
function contentDisposition(fileName: string): string {
  const plain = fileName.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  const whole = encodeURIComponent(fileName).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${whole}`;
}
