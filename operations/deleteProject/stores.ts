import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { createDocumentClient, type Table } from '../../shared/adapters/dynamodb/client.ts';
import { createS3Client } from '../../shared/adapters/s3/client.ts';
import { RUN_INFO_FILE, RunInfoSchema } from '../../shared/contract/runInfo.ts';
import { type Arguments, UsageError } from './arguments.ts';

/** The two places where a stack keeps what projects give it. */
export type Stores = { table: Table; s3: S3Client; bucket: string; close(): void };

/** Connects to a deployed stack's table and bucket, or to those of the local system that runs on the data folder. */
export function openStores(target: Arguments['target']): Stores {
  if (!('data' in target)) {
    const region = target.region === undefined ? {} : { region: target.region };
    return storesOf(target.table, target.bucket, createDocumentClient(region), createS3Client(region));
  }
  const path = join(target.data, RUN_INFO_FILE);
  const stores = existsSync(path) ? RunInfoSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).stores : undefined;
  if (!stores)
    throw new UsageError(
      `No local system runs on the data folder ${target.data}. Start it (npm start), or name a deployed stack's --table and --bucket.`,
    );
  const credentials = { accessKeyId: stores.access_key_id, secretAccessKey: stores.secret_access_key };
  const { region } = stores;
  return storesOf(
    stores.table,
    stores.bucket,
    createDocumentClient({ endpoint: stores.dynamodb_url, region, credentials }),
    createS3Client({ endpoint: stores.s3_url, region, credentials }),
  );
}

function storesOf(tableName: string, bucket: string, client: Table['client'], s3: S3Client): Stores {
  return {
    table: { client, tableName },
    s3,
    bucket,
    close() {
      client.destroy();
      s3.destroy();
    },
  };
}
