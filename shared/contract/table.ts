/** The one table's attribute and index names: what the stack makes and the adapters use. */
export const TABLE = {
  partitionKey: 'pk',
  sortKey: 'sk',
  ttl: 'ttl',
  /** Sparse, keys only: batches not yet ended and notified. `OPEN#<0..7>` / milliseconds. */
  dueIndex: { name: 'due', partitionKey: 'duePk', sortKey: 'dueAt' },
  /** Keys and status, so that `skip` and `status=` read little. `PROJECT#<project>` / batch id. */
  listIndex: { name: 'list', partitionKey: 'listPk', sortKey: 'listSk', include: ['status'] },
} as const;

/** Partitions of the due index. */
export const DUE_PARTITIONS = 8;

/**
 * Kinds of records by what their partition keys begin with: rights are given by kind (`functions.ts`). One without a `#`
 * at its end is a partition of that very name.
 */
export const RECORD_KINDS = {
  /** Of batches: a project's partition. */
  heads: 'PROJECT#',
  /** What else is kept of a batch: detail, control, shards, snapshots. */
  batches: 'BATCH#',
  apiKeys: 'APIKEY#',
  /** The list of all keys, for operators. */
  apiKeyList: 'APIKEYS',
  webhookSecrets: 'WEBHOOK#',
  idempotency: 'IDEMPOTENCY#',
  circuits: 'MODEL#',
  callShares: 'SHARES#',
  uploads: 'UPLOAD#',
  /** What quotas count: a project's partition. */
  quotas: 'QUOTA#',
} as const;
export type RecordKind = keyof typeof RECORD_KINDS;
