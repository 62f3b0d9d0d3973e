import { createHash } from 'node:crypto';
import { DUE_PARTITIONS, RECORD_KINDS, TABLE } from '../../contract/table.ts';
import type { BatchRef } from '../../domain/batch.ts';
import { SHARD_PARTITIONS } from '../../domain/shard.ts';

/** A record's primary key, under the table's own attribute names. */
export type Key = { [TABLE.partitionKey]: string; [TABLE.sortKey]: string };

const key = (partition: string, sort: string): Key => ({ [TABLE.partitionKey]: partition, [TABLE.sortKey]: sort });

const PROJECT = RECORD_KINDS.heads;
export const BATCH = RECORD_KINDS.batches;

/** Shard numbers end below the 1,000,000 lines of an input; eight digits keep them in order as text. */
const SHARD_DIGITS = 8;

/**
 * Every key of the table in one place. A project's partition holds its batches' heads and nothing else, so that a Query
 * of it is the list; project ids hold no `#` (`PROJECT_ID`), so that no two kinds of key can meet.
 */
export const keys = {
  project: (projectId: string) => `${PROJECT}${projectId}`,
  head: (ref: BatchRef) => key(`${PROJECT}${ref.projectId}`, `${BATCH}${ref.batchId}`),
  detail: (batchId: string) => key(`${BATCH}${batchId}`, 'DETAIL'),
  control: (batchId: string) => key(`${BATCH}${batchId}`, 'CONTROL'),
  snapshots: (batchId: string) => key(`${BATCH}${batchId}`, 'SNAPSHOTS'),
  shardPartition: (batchId: string, partition: number) => `${BATCH}${batchId}#${partition}`,
  shard: (batchId: string, shard: number) =>
    key(keys.shardPartition(batchId, shard % SHARD_PARTITIONS), `SHARD#${String(shard).padStart(SHARD_DIGITS, '0')}`),
  duePartition: (partition: number) => `OPEN#${partition}`,
  apiKey: (hash: string) => key(`${RECORD_KINDS.apiKeys}${hash}`, 'APIKEY'),
  /** One partition for all keys of a deployment: it is read only when an operator lists or revokes. */
  apiKeyPartition: RECORD_KINDS.apiKeyList,
  apiKeyEntry: (keyId: string) => key(keys.apiKeyPartition, `KEY#${keyId}`),
  webhookSecret: (projectId: string) => key(`${RECORD_KINDS.webhookSecrets}${projectId}`, 'SECRET'),
  /** Clients choose their idempotency keys: the digest bounds the length (a partition key ends at 2,048 bytes). */
  idempotency: (projectId: string, idempotencyKey: string) =>
    key(
      `${RECORD_KINDS.idempotency}${projectId}#${createHash('sha256').update(idempotencyKey).digest('hex')}`,
      'IDEMPOTENCY',
    ),
  circuit: (model: string) => key(`${RECORD_KINDS.circuits}${model}`, 'CIRCUIT'),
  /** By number first: each is a partition of its own. */
  callShares: (model: string, record: number) => key(`${RECORD_KINDS.callShares}${record}#${model}`, 'SHARES'),
  /** One partition a project: a right to write what quotas count is a right to these partitions alone. */
  requestQuota: (projectId: string, minute: number) => key(`${RECORD_KINDS.quotas}${projectId}`, `REQUESTS#${minute}`),
  uploadQuota: (projectId: string, day: number) => key(`${RECORD_KINDS.quotas}${projectId}`, `UPLOADS#${day}`),
  openBatches: (projectId: string) => key(`${RECORD_KINDS.quotas}${projectId}`, 'OPEN_BATCHES'),
  upload: (projectId: string, fileId: string) => key(`${RECORD_KINDS.uploads}${projectId}#${fileId}`, 'UPLOAD'),
};

/** What a head's key says. */
export function refOfHead(head: Key): BatchRef {
  const { [TABLE.partitionKey]: partition, [TABLE.sortKey]: sort } = head;
  if (!partition.startsWith(PROJECT) || !sort.startsWith(BATCH))
    throw new Error(`The due index names ${partition} / ${sort}, which is not a batch`);
  return { projectId: partition.slice(PROJECT.length), batchId: sort.slice(BATCH.length) };
}

/** FNV-1a over the id: the same partition for a batch each time, and all of them used alike. */
export function duePartitionOf(batchId: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < batchId.length; at++) hash = Math.imul(hash ^ batchId.charCodeAt(at), 0x01000193) >>> 0;
  // The low bits of FNV-1a depend on the characters' low bits alone; the high half is mixed in.
  return (((hash >>> 16) ^ hash) >>> 0) % DUE_PARTITIONS;
}

/** The attributes that put a batch on the due index. */
export function dueKey(batchId: string, dueAt: number): Record<string, unknown> {
  return {
    [TABLE.dueIndex.partitionKey]: keys.duePartition(duePartitionOf(batchId)),
    [TABLE.dueIndex.sortKey]: dueAt,
  };
}

/** TTL counts in seconds; it only cleans up (days late), so rounding up is safe. */
export function ttlOf(expiresAt: number): Record<string, number> {
  return { [TABLE.ttl]: Math.ceil(expiresAt / 1000) };
}
