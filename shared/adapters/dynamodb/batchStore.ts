import { isDeepStrictEqual } from 'node:util';
import { TABLE } from '../../contract/table.ts';
import { type BatchDetail, BatchDetailSchema, type BatchHead } from '../../domain/batch.ts';
import type { BatchStore } from '../../ports.ts';
import { createBatchCounts } from './batchCounts.ts';
import { boundedErrors, createBatchErrors } from './batchErrors.ts';
import { createBatchLists } from './batchLists.ts';
import { createBatchMoves } from './batchMoves.ts';
import type { Table } from './client.ts';
import { dueKey, keys } from './keys.ts';
import { getRecord, parseRecord, putRecord, updateRecord } from './records.ts';
import { OPEN_STATUSES, readHead } from './storedHead.ts';

/** Batches: head, detail and the two indexes. Moves, counts, errors and lists have files of their own. */
export function createBatchStore(table: Table): BatchStore {
  return {
    ...createBatchMoves(table),
    ...createBatchCounts(table),
    ...createBatchErrors(table),
    ...createBatchLists(table),

    async create({ head, detail, control, dueAt }) {
      const detailRecord = { ...keys.detail(head.batchId), ...bounded(detail) };
      const controlRecord = { ...keys.control(head.batchId), ...control };
      const headRecord = {
        ...keys.head(head),
        ...dueKey(head.batchId, dueAt),
        [TABLE.listIndex.partitionKey]: keys.project(head.projectId),
        [TABLE.listIndex.sortKey]: head.batchId,
        ...head,
      };
      // What stands was left by an earlier create of the same id (an idempotency key that came again), which says the same
      // of the same request. It is never replaced: the batch of a twin may be on its way, with errors on it by now.
      if (!(await putRecord(table, detailRecord))) {
        const standing = await readHead(table, head);
        if (standing) return isOwn(standing, head) ? 'created' : 'exists';
      }
      // Fresh, or left behind by a create that died. A twin that comes late, from before the one whose batch is there,
      // changes neither its later deadline nor a stop.
      const isMyControl = await putRecord(
        table,
        controlRecord,
        (e) =>
          `${e.absent('action')} OR (${e.equals('action', 'run')} AND ${e.name('deadline')} < ${e.value(control.deadline)})`,
      );
      const isMyHead = await putRecord(table, headRecord);
      const standing = isMyHead ? head : await readHead(table, head);
      const created = standing !== undefined && isOwn(standing, head);
      // Of two at once, one may have written the control and the other the head: the head's deadline is the one that holds.
      if (standing && created !== isMyControl)
        await putRecord(table, { ...controlRecord, deadline: standing.expiresAt }, (e) => e.equals('action', 'run'));
      return created ? 'created' : 'exists';
    },

    async get(ref) {
      return await readHead(table, ref);
    },

    async getDetail(batchId) {
      const record = await getRecord(table, keys.detail(batchId));
      return record && parseRecord(BatchDetailSchema, record);
    },

    async setInput(ref, attempt, input) {
      // Last writer wins among those of the newest attempt: a repeated Fetch wrote the same key anew, and the ETag that
      // holds is that of the object that was written last. Repeating it is harmless, so a lost answer is too.
      const set = await updateRecord(table, keys.head(ref), (e) => ({
        set: [e.equals('input', input)],
        when: `${e.equals('attempt', attempt)} AND ${e.absent('plan')} AND ${e.oneOf('status', OPEN_STATUSES)}`,
      }));
      return set ? 'set' : 'superseded';
    },

    async setPlan(ref, attempt, plan) {
      // While validating no worker has read a plan, so the newest attempt's may replace an older attempt's; otherwise an
      // attempt that died between this and the end would keep all later ones from ending the batch.
      const set = await updateRecord(table, keys.head(ref), (e) => ({
        set: [e.equals('plan', plan)],
        when: `${e.equals('attempt', attempt)} AND ${e.oneOf('status', OPEN_STATUSES)} AND (${e.absent('plan')} OR ${e.equals('status', 'validating')})`,
      }));
      if (set) return 'set';
      const head = await readHead(table, ref);
      return head?.attempt === attempt && isDeepStrictEqual(head.plan, plan) ? 'set' : 'superseded';
    },

    async setDelivery(ref, delivery, deliveredAt, now) {
      // What was delivered stays so: a slower attempt that ran beside it, or one whose answer was lost, changes nothing.
      // One that was frozen must not set the count back, nor the pauses that go by it.
      const set = await updateRecord(table, keys.head(ref), (e) => ({
        set: [
          e.equals('delivery', delivery),
          e.equals('updatedAt', now),
          ...(deliveredAt === undefined ? [] : [e.equals('deliveredAt', deliveredAt)]),
        ],
        when: [
          e.exists(TABLE.partitionKey),
          e.absent('deliveredAt'),
          ...(deliveredAt === undefined
            ? [`(${e.absent('delivery')} OR ${e.name('delivery.attempts')} < ${e.value(delivery.attempts)})`]
            : []),
        ].join(' AND '),
      }));
      if (!set && !(await readHead(table, ref))) throw new Error(`There is no batch ${ref.batchId}`);
    },

    async setDue(ref, dueAt) {
      const { partitionKey, sortKey } = TABLE.dueIndex;
      // A batch that is not there has nothing to be due: the index is a hint and may name one.
      await updateRecord(table, keys.head(ref), (e) =>
        dueAt === undefined
          ? { remove: [e.name(partitionKey), e.name(sortKey)], when: e.exists(TABLE.partitionKey) }
          : {
              set: Object.entries(dueKey(ref.batchId, dueAt)).map(([name, value]) => e.equals(name, value)),
              when: e.exists(TABLE.partitionKey),
            },
      );
    },
  };
}

/**
 * The SDK repeats a put whose answer was lost and then meets its own record. Two creates under one id differ in the
 * time, and where they do not, both start the same execution by name, which starts it once.
 */
function isOwn(standing: BatchHead, head: BatchHead): boolean {
  return standing.createdAt === head.createdAt;
}

function bounded(detail: BatchDetail): BatchDetail {
  return { ...detail, errors: boundedErrors(detail.errors) };
}
