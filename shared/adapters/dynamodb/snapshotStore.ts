import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import { StoredFileSchema } from '../../domain/batch.ts';
import type { SnapshotStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys, ttlOf } from './keys.ts';
import { getRecord, parseRecord, updateRecord } from './records.ts';

const SnapshotRecordSchema = z.object({
  taken: z.int().positive(),
  takenAt: z.int().nonnegative(),
  /** By number, so that one is added or forgotten without the others. */
  ready: z.record(
    z.string(),
    z.object({
      snapshot: z.int().positive(),
      asOf: z.int().nonnegative(),
      readyAt: z.int().nonnegative(),
      output: StoredFileSchema.optional(),
      errors: StoredFileSchema.optional(),
    }),
  ),
});

/** The bucket's rule deletes snapshots after a day; a batch that runs longer writes the record anew. */
const KEEP_MS = 8 * 86_400_000;

/** What is known of a running batch's partial results. */
export function createSnapshotStore(table: Table): SnapshotStore {
  return {
    async get(batchId) {
      const record = await getRecord(table, keys.snapshots(batchId));
      if (!record) return undefined;
      const { ready, ...newest } = parseRecord(SnapshotRecordSchema, record);
      return { ...newest, ready: Object.values(ready).sort((a, b) => a.snapshot - b.snapshot) };
    },

    async take(batchId, from, now) {
      // The SDK repeats a write whose answer was lost: the token tells its own success from another call's, which starts
      // an execution of its own.
      const token = randomUUID();
      const taken = await updateRecord(table, keys.snapshots(batchId), (e) => ({
        set: [
          e.equals('taken', from + 1),
          e.equals('takenAt', now),
          e.equals('takenToken', token),
          ...(from === 0 ? [e.equals('ready', {})] : []),
          ...Object.entries(ttlOf(now + KEEP_MS)).map(([name, value]) => e.equals(name, value)),
        ],
        when: from === 0 ? e.absent('taken') : e.equals('taken', from),
      }));
      if (taken) return 'taken';
      const standing = await getRecord(table, keys.snapshots(batchId));
      return standing?.takenToken === token ? 'taken' : 'superseded';
    },

    async setReady(batchId, ready, drop) {
      await updateRecord(table, keys.snapshots(batchId), (e) => ({
        set: [e.equals(`ready.${ready.snapshot}`, ready)],
        remove: drop.filter((number) => number !== ready.snapshot).map((number) => e.name(`ready.${number}`)),
        when: e.exists('taken'),
      }));
    },
  };
}
