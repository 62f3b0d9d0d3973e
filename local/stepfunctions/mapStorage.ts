import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

/**
 * Where maps read their items and write their results. What is read is copied to disk first, so that no connection is
 * held open for the hours that a map may take; what is written is gathered on disk and sent in one piece.
 */
export type MapStorage = {
  /** A folder for one map run; gone once it is disposed of. */
  openFolder(runId: string): Promise<string>;
  closeFolder(folder: string): Promise<void>;
  download(from: { bucket: string; key: string }, toFile: string, signal: AbortSignal): Promise<void>;
  upload(fromFile: string, to: { bucket: string; key: string }): Promise<{ bytes: number }>;
  write(text: string, to: { bucket: string; key: string }): Promise<void>;
  close(): void;
};

export type S3Connection = {
  endpoint: string;
  region: string;
  credentials: { accessKeyId: string; secretAccessKey: string };
};

/** Empties `folder`: what a process that died left there is of no use to anyone. */
export async function openMapStorage(folder: string, connection: S3Connection): Promise<MapStorage> {
  const s3 = new S3Client({ ...connection, forcePathStyle: true });
  await rm(folder, { recursive: true, force: true });
  return {
    async openFolder(runId) {
      const path = join(folder, runId);
      await mkdir(path, { recursive: true, mode: 0o700 });
      return path;
    },
    closeFolder: (path) => rm(path, { recursive: true, force: true }),
    async download({ bucket, key }, toFile, signal) {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: signal });
      if (!(Body instanceof Readable)) throw new Error(`s3://${bucket}/${key} has no body.`);
      const target = createWriteStream(toFile);
      if (key.endsWith('.gz')) await pipeline(Body, createGunzip(), target, { signal });
      else await pipeline(Body, target, { signal });
    },
    async upload(fromFile, { bucket, key }) {
      const { size } = await stat(fromFile);
      const request = { Bucket: bucket, Key: key, Body: createReadStream(fromFile), ContentLength: size };
      await s3.send(new PutObjectCommand({ ...request, ContentType: 'application/json' }));
      return { bytes: size };
    },
    async write(text, { bucket, key }) {
      const request = { Bucket: bucket, Key: key, Body: text, ContentType: 'application/json' };
      await s3.send(new PutObjectCommand(request));
    },
    close: () => s3.destroy(),
  };
}
