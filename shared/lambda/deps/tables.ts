import { createApiKeyStore } from '../../adapters/dynamodb/apiKeyStore.ts';
import { createBatchStore } from '../../adapters/dynamodb/batchStore.ts';
import { createCallShareStore } from '../../adapters/dynamodb/callShareStore.ts';
import { createCircuitStore } from '../../adapters/dynamodb/circuitStore.ts';
import { createDocumentClient } from '../../adapters/dynamodb/client.ts';
import { createControlStore } from '../../adapters/dynamodb/controlStore.ts';
import { createIdempotencyStore } from '../../adapters/dynamodb/idempotencyStore.ts';
import { createOpenBatchStore } from '../../adapters/dynamodb/openBatchStore.ts';
import { createQuotaStore } from '../../adapters/dynamodb/quotaStore.ts';
import { createShardStore } from '../../adapters/dynamodb/shardStore.ts';
import { createSnapshotStore } from '../../adapters/dynamodb/snapshotStore.ts';
import { createUploadStore } from '../../adapters/dynamodb/uploadStore.ts';
import { createWebhookSecretStore } from '../../adapters/dynamodb/webhookSecretStore.ts';
import type { Ports } from '../../ports.ts';
import { metered } from '../metering.ts';

type TablePorts = Pick<
  Ports,
  | 'batches'
  | 'controls'
  | 'shards'
  | 'apiKeys'
  | 'webhookSecrets'
  | 'idempotency'
  | 'uploads'
  | 'snapshots'
  | 'circuits'
  | 'callShares'
  | 'quotas'
  | 'openBatches'
>;

/** Everything that is kept in the one table. */
export function tablePorts(tableName: string, client = metered('dynamodb', createDocumentClient())): TablePorts {
  const table = { client, tableName };
  return {
    batches: createBatchStore(table),
    controls: createControlStore(table),
    shards: createShardStore(table),
    apiKeys: createApiKeyStore(table),
    webhookSecrets: createWebhookSecretStore(table),
    idempotency: createIdempotencyStore(table),
    uploads: createUploadStore(table),
    snapshots: createSnapshotStore(table),
    circuits: createCircuitStore(table),
    callShares: createCallShareStore(table),
    quotas: createQuotaStore(table),
    openBatches: createOpenBatchStore(table),
  };
}
