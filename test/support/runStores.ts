import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalRun } from '../../local/runtime.ts';
import { createDocumentClient } from '../../shared/adapters/dynamodb/client.ts';
import { createS3Client } from '../../shared/adapters/s3/client.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { RUN_INFO_FILE, RunInfoSchema } from '../../shared/contract/runInfo.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';

/** Tables and files of a local run that is up, as its functions have them: to break what only a fault would. */
export function openRunStores({ dataDir }: Pick<LocalRun, 'dataDir'>) {
  const { stores } = RunInfoSchema.parse(JSON.parse(readFileSync(join(dataDir, RUN_INFO_FILE), 'utf8')));
  if (!stores) throw new Error(`${RUN_INFO_FILE} does not say where the stores are`);
  const { dynamodb_url, s3_url, region, table: tableName, bucket } = stores;
  const credentials = { accessKeyId: stores.access_key_id, secretAccessKey: stores.secret_access_key };
  const s3 = createS3Client({ region, credentials, endpoint: s3_url });
  const client = createDocumentClient({ region, credentials, endpoint: dynamodb_url });
  const files = createFileStore({ client: s3, bucket });
  return {
    ...tablePorts(tableName, client),
    files,
    table: { client, tableName },
    /** Cuts a file off in its middle, so that whoever reads it fails and tries again; what it answers puts it right. */
    async spoil(key: string): Promise<() => Promise<void>> {
      const body = await files.readSmall(key, 64 * 1024 * 1024);
      if (!body) throw new Error(`There is no ${key}`);
      await files.put(key, body.subarray(0, body.length / 2));
      return async () => void (await files.put(key, body));
    },
    close() {
      s3.destroy();
      client.destroy();
    },
  };
}
export type RunStores = ReturnType<typeof openRunStores>;
