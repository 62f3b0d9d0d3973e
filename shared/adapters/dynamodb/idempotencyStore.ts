import * as z from 'zod';
import type { IdempotencyStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys, ttlOf } from './keys.ts';
import { getRecord, parseRecord, putRecord } from './records.ts';

const IdempotencyRecordSchema = z.object({
  batchId: z.string(),
  bodyHash: z.string(),
  sentHash: z.string().optional(),
  expiresAt: z.int().nonnegative(),
});

/** A record may be deleted (by its TTL) between the refused put and the read: then the put is tried again. */
const TRIES = 3;

/** `Idempotency-Key`: who is first under a key decides its batch. */
export function createIdempotencyStore(table: Table): IdempotencyStore {
  return {
    async find(projectId, key, now) {
      const stored = await getRecord(table, keys.idempotency(projectId, key));
      const record = stored && parseRecord(IdempotencyRecordSchema, stored);
      return record && record.expiresAt > now ? record : undefined;
    },

    async begin(projectId, key, record, now) {
      const place = keys.idempotency(projectId, key);
      for (let tries = 0; tries < TRIES; tries++) {
        // An expired record is as good as none, however late its TTL is.
        const kept = await putRecord(
          table,
          { ...place, ...record, ...ttlOf(record.expiresAt) },
          (e) => `${e.absent('expiresAt')} OR ${e.name('expiresAt')} <= ${e.value(now)}`,
        );
        if (kept) return record;
        // After a lost answer the one that stands is this one: nothing to recognize.
        const standing = await getRecord(table, place);
        if (standing) return parseRecord(IdempotencyRecordSchema, standing);
      }
      throw new Error('The idempotency record comes and goes');
    },
  };
}
