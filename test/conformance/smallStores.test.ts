import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { createApiKeyStore } from '../../shared/adapters/dynamodb/apiKeyStore.ts';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createCircuitStore } from '../../shared/adapters/dynamodb/circuitStore.ts';
import { createIdempotencyStore } from '../../shared/adapters/dynamodb/idempotencyStore.ts';
import { createOpenBatchStore } from '../../shared/adapters/dynamodb/openBatchStore.ts';
import { createQuotaStore } from '../../shared/adapters/dynamodb/quotaStore.ts';
import { createSnapshotStore } from '../../shared/adapters/dynamodb/snapshotStore.ts';
import { createUploadStore } from '../../shared/adapters/dynamodb/uploadStore.ts';
import { createWebhookSecretStore } from '../../shared/adapters/dynamodb/webhookSecretStore.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { apiKeyStoreSuite } from './suites/apiKeyStore.ts';
import { circuitStoreSuite } from './suites/circuitStore.ts';
import { openBatchStoreSuite, quotaStoreSuite } from './suites/quotaStores.ts';
import {
  idempotencyStoreSuite,
  snapshotStoreSuite,
  uploadStoreSuite,
  webhookSecretStoreSuite,
} from './suites/smallStores.ts';

describe('small stores on DynamoDB', () => {
  let table: TestTable;
  beforeAll(async () => {
    table = await startDynalite();
  });
  afterAll(() => table.close());

  webhookSecretStoreSuite(() => createWebhookSecretStore(table));
  idempotencyStoreSuite(() => createIdempotencyStore(table));
  uploadStoreSuite(() => createUploadStore(table));
  circuitStoreSuite(() => createCircuitStore(table));
  quotaStoreSuite(() => createQuotaStore(table));
  openBatchStoreSuite(() => ({ batches: createBatchStore(table), openBatches: createOpenBatchStore(table) }));
  snapshotStoreSuite(() => createSnapshotStore(table));
});

describe('API keys on DynamoDB', () => {
  const tables: TestTable[] = [];
  afterEach(async () => {
    for (const table of tables.splice(0)) await table.close();
  });

  apiKeyStoreSuite(async () => {
    const table = await startDynalite();
    tables.push(table);
    return createApiKeyStore(table);
  });
});
