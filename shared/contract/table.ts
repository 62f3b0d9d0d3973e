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

/** What the partitions of quotas start with, each followed by a project's id. */
export const QUOTA_PARTITIONS = 'QUOTA#';

/** Partitions of the due index. */
export const DUE_PARTITIONS = 8;
