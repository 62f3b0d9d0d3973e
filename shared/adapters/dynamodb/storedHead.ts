import { type BatchHead, BatchHeadSchema, type BatchRef } from '../../domain/batch.ts';
import { BATCH_STATUSES, isEnded } from '../../domain/batchStatus.ts';
import type { Table } from './client.ts';
import { keys } from './keys.ts';
import { getRecord, parseRecord, type StoredRecord } from './records.ts';

/** Statuses of a batch that may still change: what every write but a notification's is conditional on. */
export const OPEN_STATUSES = BATCH_STATUSES.filter((status) => !isEnded(status));

export function parseHead(record: StoredRecord): BatchHead {
  return parseRecord(BatchHeadSchema, record);
}

export async function readHead(table: Table, ref: BatchRef): Promise<BatchHead | undefined> {
  const record = await getRecord(table, keys.head(ref));
  return record && parseHead(record);
}
