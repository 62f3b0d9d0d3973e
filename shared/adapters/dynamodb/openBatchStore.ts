import * as z from 'zod';
import { BATCH_STATUSES, isEnded } from '../../domain/batchStatus.ts';
import type { OpenBatchStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys } from './keys.ts';
import { batchGetRecords, getRecord, parseRecord, updateRecord } from './records.ts';

const RecordSchema = z.object({ open: z.record(z.string(), z.number()) });
const HeadSchema = z.object({ sk: z.string(), status: z.string().optional() });

/**
 * A place whose batch is not there after this long is free: whoever took it has died. An API function has 29 s; two
 * minutes leave room for clocks that differ.
 */
const UNMADE_MS = 120_000;
/** An expression ends at 4 KB and 300 operators. */
const FREED_AT_ONCE = 50;
/** Each further try means that others took or freed a place meanwhile. */
const TRIES = 5;

/**
 * One record a project: the ids of its open batches, with the time when each took its place. Nothing is written when a
 * batch ends. What stands there may be ended or never made, but an open batch is never missing; only once all places are
 * taken are the heads read, and those places freed that no open batch has. So the number cannot drift, whatever dies.
 */
export function createOpenBatchStore(table: Table): OpenBatchStore {
  /** Whether another try may find a place. */
  async function makeRoom(projectId: string, limit: number, now: number): Promise<boolean> {
    const place = keys.openBatches(projectId);
    const record = await getRecord(table, place);
    if (!record) {
      await updateRecord(table, place, (e) => ({ set: [e.equals('open', {})], when: e.absent('open') }));
      return true;
    }
    const { open } = parseRecord(RecordSchema, record);
    const free = await withoutOpenBatch(projectId, open, now);
    if (free.length === 0) return Object.keys(open).length < limit;
    // Only as they were seen: a place that was taken anew since, by a repeat of its create, stays.
    await updateRecord(table, place, (e) => ({
      remove: free.map(([batchId]) => e.name(`open.${batchId}`)),
      when: free.map(([batchId, takenAt]) => e.equals(`open.${batchId}`, takenAt)).join(' AND '),
    }));
    return true;
  }

  async function withoutOpenBatch(projectId: string, open: Record<string, number>, now: number) {
    const heads = await batchGetRecords(
      table,
      Object.keys(open).map((batchId) => keys.head({ projectId, batchId })),
      ['status'],
    );
    const statuses = new Map(
      heads.map((head) => parseRecord(HeadSchema, head)).map(({ sk, status }) => [sk, status] as const),
    );
    return Object.entries(open)
      .filter(([batchId, takenAt]) => {
        const { sk } = keys.head({ projectId, batchId });
        if (!statuses.has(sk)) return takenAt <= now - UNMADE_MS;
        // A status that nobody knows is no end.
        return BATCH_STATUSES.some((known) => known === statuses.get(sk) && isEnded(known));
      })
      .slice(0, FREED_AT_ONCE);
  }

  return {
    async take({ projectId, batchId }, limit, now) {
      for (let tries = 0; tries < TRIES; tries++) {
        // A batch that has a place keeps it, at whatever number: repeats count once.
        const taken = await updateRecord(table, keys.openBatches(projectId), (e) => ({
          set: [e.equals(`open.${batchId}`, now)],
          when: `${e.exists('open')}${limit === undefined ? '' : ` AND (size(${e.name('open')}) < ${e.value(limit)} OR ${e.exists(`open.${batchId}`)})`}`,
        }));
        if (taken) return 'taken';
        if (!(await makeRoom(projectId, limit ?? Number.POSITIVE_INFINITY, now))) return 'full';
      }
      return 'full';
    },

    async give({ projectId, batchId }) {
      await updateRecord(table, keys.openBatches(projectId), (e) => ({
        remove: [e.name(`open.${batchId}`)],
        when: e.exists(`open.${batchId}`),
      }));
    },
  };
}
