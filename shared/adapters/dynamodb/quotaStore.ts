import * as z from 'zod';
import type { QuotaStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys, ttlOf } from './keys.ts';
import { parseRecord, updateRecord } from './records.ts';

const CountedSchema = z.object({ count: z.int().nonnegative() });

/**
 * What a project has used of a quota in one stretch of time: a record each, that its TTL deletes. A write whose answer was
 * lost is sent again by the SDK and then counts twice: on the strict side, by one block or one upload.
 */
export function createQuotaStore(table: Table): QuotaStore {
  return {
    async countRequests(projectId, minute, count) {
      // Without a condition, so that many at once never meet; what goes beyond the limit is not given out by the caller.
      const counted = await updateRecord(table, keys.requestQuota(projectId, minute.start), (e) => ({
        set: [
          `${e.name('count')} = ${e.standingOr('count', 0)} + ${e.value(count)}`,
          ...Object.entries(ttlOf(minute.end)).map(([name, value]) => e.equals(name, value)),
        ],
      }));
      if (counted === undefined) throw new Error('A write without a condition was refused');
      return parseRecord(CountedSchema, counted).count;
    },

    async countUpload(projectId, day, { bytes, maxUploads, maxBytes }) {
      if (bytes > maxBytes) return 'full';
      const counted = await updateRecord(table, keys.uploadQuota(projectId, day.start), (e) => ({
        set: [
          `${e.name('count')} = ${e.standingOr('count', 0)} + ${e.value(1)}`,
          `${e.name('bytes')} = ${e.standingOr('bytes', 0)} + ${e.value(bytes)}`,
          ...Object.entries(ttlOf(day.end)).map(([name, value]) => e.equals(name, value)),
        ],
        when: `${e.absent('count')} OR (${e.name('count')} < ${e.value(maxUploads)} AND ${e.name('bytes')} <= ${e.value(maxBytes - bytes)})`,
      }));
      return counted ? 'counted' : 'full';
    },
  };
}
