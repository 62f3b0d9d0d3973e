import type { BatchDetail, BatchHead } from '../../shared/domain/batch.ts';

/** 2026-01-15T10:30:00.000Z */
export const NOON = Date.UTC(2026, 0, 15, 10, 30);

/** A batch just made, but for what is given. */
export function batchHead(change: Partial<BatchHead> = {}): BatchHead {
  return {
    projectId: 'acme',
    batchId: 'batch_01J9ZQ3V6B8R4M2N7K5T1W0XYZ',
    name: 'Product descriptions',
    type: 'COMPLETIONS',
    status: 'validating',
    callbackUrl: 'https://example.com/hook',
    inputFileUrl: 'https://example.com/in.jsonl',
    onInvalidLine: 'fail',
    completionWindow: '24h',
    createdAt: NOON,
    updatedAt: NOON,
    expiresAt: NOON + 86_400_000,
    enteredAt: { validating: NOON },
    requestCounts: { total: 0, completed: 0, failed: 0 },
    attempt: 1,
    idleAttempts: 0,
    committedAtAttempt: 0,
    notification: 0,
    version: 0,
    ...change,
  };
}

export function batchDetail(change: Partial<BatchDetail> = {}): BatchDetail {
  return { batchId: batchHead().batchId, description: null, metadata: {}, errors: [], ...change };
}
