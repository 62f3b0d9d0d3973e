import { createApiKeyStore } from '../../shared/adapters/dynamodb/apiKeyStore.ts';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createControlStore } from '../../shared/adapters/dynamodb/controlStore.ts';
import { createIdempotencyStore } from '../../shared/adapters/dynamodb/idempotencyStore.ts';
import { createOpenBatchStore } from '../../shared/adapters/dynamodb/openBatchStore.ts';
import { createQuotaStore } from '../../shared/adapters/dynamodb/quotaStore.ts';
import { createUploadStore } from '../../shared/adapters/dynamodb/uploadStore.ts';
import { createWebhookSecretStore } from '../../shared/adapters/dynamodb/webhookSecretStore.ts';
import type { TestTable } from './dynalite.ts';

/** The real stores of what the API keeps, on a test's table. */
export function tablePortsOn(table: TestTable) {
  return {
    batches: createBatchStore(table),
    controls: createControlStore(table),
    apiKeys: createApiKeyStore(table),
    webhookSecrets: createWebhookSecretStore(table),
    idempotency: createIdempotencyStore(table),
    uploads: createUploadStore(table),
    quotas: createQuotaStore(table),
    openBatches: createOpenBatchStore(table),
  };
}
