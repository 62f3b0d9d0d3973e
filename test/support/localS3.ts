import { createCipheriv } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { type S3Options, startS3 } from '../../local/s3/server.ts';
import { createS3Client } from '../../shared/adapters/s3/client.ts';

export const LOCAL_S3 = {
  region: 'us-east-1',
  bucket: 'test-bucket',
  credentials: { accessKeyId: 'test-access-key', secretAccessKey: 'test-secret-key' },
} as const;

export type LocalS3 = {
  url: string;
  bucket: string;
  /** The product's client, pointed at this server. */
  client: S3Client;
  dataDir: string;
  close(): Promise<void>;
};

/** A local S3 with one bucket in a folder of its own; `close` removes the folder, unless it was given. */
export async function startLocalS3(options: Partial<S3Options> = {}): Promise<LocalS3> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'local-s3-')));
  const { region, credentials, bucket } = LOCAL_S3;
  const server = await startS3({ region, credentials, ...options, dataDir });
  server.createBucket(bucket);
  const client = createS3Client({ region, credentials, endpoint: server.url });
  return {
    url: server.url,
    bucket,
    client,
    dataDir,
    async close() {
      client.destroy();
      await server.close();
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** What the ETag of these bytes is there: a GMAC (local/s3/etag.ts says why). */
export function gmacOf(body: Uint8Array | string): string {
  const mac = createCipheriv('aes-128-gcm', Buffer.alloc(16), Buffer.alloc(12)).setAAD(Buffer.from(body));
  mac.final();
  return mac.getAuthTag().toString('hex');
}
