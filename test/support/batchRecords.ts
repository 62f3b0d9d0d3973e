import type { BatchDetail, BatchHead } from '../../shared/domain/batch.ts';
import { aHead } from './records.ts';

/** 2026-01-15T10:30:00.000Z */
export const NOON = Date.UTC(2026, 0, 15, 10, 30);

/** A batch just made, the same at each call but for what is given. */
export function batchHead(change: Partial<BatchHead> = {}): BatchHead {
  return aHead({ projectId: 'acme', batchId: 'batch_01J9ZQ3V6B8R4M2N7K5T1W0XYZ', createdAt: NOON, ...change });
}

export function batchDetail(change: Partial<BatchDetail> = {}): BatchDetail {
  return { batchId: batchHead().batchId, description: null, metadata: {}, errors: [], ...change };
}
