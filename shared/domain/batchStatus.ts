/**
 * The status machine of a batch, as data. The DynamoDB condition of a move, the docs and the property test are made
 * from this table.
 *
 *   validating ─► in_progress ─► finalizing ─► completed | failed | expired
 *       │              │             │
 *       ├─► failed     └─────────────┴─► cancelling ─► cancelled | failed
 *       ├─► expired                          ▲
 *       └────────────────────────────────────┘
 */
export const BATCH_STATUSES = [
  'validating',
  'failed',
  'in_progress',
  'finalizing',
  'completed',
  'expired',
  'cancelling',
  'cancelled',
] as const;

export type BatchStatus = (typeof BATCH_STATUSES)[number];

export const TRANSITIONS = {
  validating: ['in_progress', 'failed', 'cancelling', 'expired'],
  in_progress: ['finalizing', 'cancelling'],
  finalizing: ['completed', 'failed', 'expired', 'cancelling'],
  cancelling: ['cancelled', 'failed'],
  completed: [],
  failed: [],
  expired: [],
  cancelled: [],
} as const satisfies Record<BatchStatus, readonly BatchStatus[]>;

/** Statuses that a batch never leaves. */
export type EndedStatus = 'completed' | 'failed' | 'expired' | 'cancelled';

export function isEnded(status: BatchStatus): status is EndedStatus {
  return TRANSITIONS[status].length === 0;
}

/** The statuses from which a batch may move to `to`. */
export function priorStatuses(to: BatchStatus): BatchStatus[] {
  return BATCH_STATUSES.filter((from) => (TRANSITIONS[from] as readonly BatchStatus[]).includes(to));
}
