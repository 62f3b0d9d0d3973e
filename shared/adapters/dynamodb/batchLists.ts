import * as z from 'zod';
import { DUE_PARTITIONS, TABLE } from '../../contract/table.ts';
import { BatchDetailSchema, type BatchHead, type BatchRef } from '../../domain/batch.ts';
import { BATCH_STATUSES, isEnded } from '../../domain/batchStatus.ts';
import { createdAtOf } from '../../domain/ids.ts';
import type { BatchStore, ListQuery } from '../../ports.ts';
import type { Table } from './client.ts';
import { BATCH, keys, refOfHead } from './keys.ts';
import { batchGetRecords, parseRecord, queryRecords, scanIndex } from './records.ts';
import { parseHead } from './storedHead.ts';

const ListedDetailSchema = BatchDetailSchema.pick({ batchId: true, description: true, metadata: true });
const ListEntrySchema = z.object({ [TABLE.listIndex.sortKey]: z.string() });
const DueEntrySchema = z.object({
  [TABLE.partitionKey]: z.string(),
  [TABLE.sortKey]: z.string(),
  [TABLE.dueIndex.sortKey]: z.number(),
});

const SweepEntrySchema = z.object({
  [TABLE.partitionKey]: z.string(),
  [TABLE.sortKey]: z.string(),
  status: z.enum(BATCH_STATUSES),
});
/** BatchGetItem takes 100 keys. */
const SWEEP_PAGE = 100;
/** A window of 7 days, a day to gather, 3 days of notification that a receiver's Retry-After can stretch to 7. */
const LONGEST_UNNOTIFIED_MS = 15 * 86_400_000;

/** Many batches at a time: a project's list, what *list* adds to it, and what is due. */
export function createBatchLists(table: Table): Pick<BatchStore, 'list' | 'getDetails' | 'listDue' | 'listMissingDue'> {
  return {
    async list(query) {
      const heads = query.skip || query.status ? listByIndex(table, query) : listByTable(table, query);
      // One more than asked for tells, exactly, whether there are more.
      const batches = await firstOf(heads, query.take + 1);
      return { batches: batches.slice(0, query.take), hasMore: batches.length > query.take };
    },

    async getDetails(batchIds) {
      const records = await batchGetRecords(table, batchIds.map(keys.detail), ['batchId', 'description', 'metadata']);
      const details = records.map((record) => parseRecord(ListedDetailSchema, record));
      return new Map(details.map((detail) => [detail.batchId, detail]));
    },

    async listDue(now, limit) {
      const partitions = Array.from({ length: DUE_PARTITIONS }, (_, partition) =>
        listDueOf(table, partition, now, limit),
      );
      const due = (await Promise.all(partitions)).flat();
      due.sort((a, b) => a.dueAt - b.dueAt || (a.ref.batchId < b.ref.batchId ? -1 : 1));
      return due.slice(0, limit).map((entry) => entry.ref);
    },

    async *listMissingDue(now) {
      let page: BatchRef[] = [];
      for await (const record of scanIndex(table, TABLE.listIndex.name)) {
        const { status, ...key } = parseRecord(SweepEntrySchema, record);
        const ref = refOfHead(key);
        if (isEnded(status) && createdAtOf(ref.batchId) < now - LONGEST_UNNOTIFIED_MS) continue;
        page.push(ref);
        if (page.length < SWEEP_PAGE) continue;
        yield* await withoutDue(table, page);
        page = [];
      }
      yield* await withoutDue(table, page);
    },
  };
}

async function firstOf<T>(source: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  if (count <= 0) return taken;
  for await (const one of source) {
    taken.push(one);
    if (taken.length === count) break;
  }
  return taken;
}

/** The plain list reads the heads themselves, consistently: a batch that was just created is in it. */
async function* listByTable(table: Table, query: ListQuery): AsyncGenerator<BatchHead> {
  const records = queryRecords(table, {
    where: (e) => ({
      keys: `${e.equals(TABLE.partitionKey, keys.project(query.projectId))} AND begins_with(${e.name(TABLE.sortKey)}, ${e.value(BATCH)})`,
    }),
    order: query.order,
    pageSize: query.take + 1,
    ...(query.after !== undefined && { after: keys.head({ projectId: query.projectId, batchId: query.after }) }),
  });
  for await (const record of records) yield parseHead(record);
}

/**
 * `skip` and `status` read the narrow index (some 200 bytes a batch instead of 2 KB) and then only the heads of the
 * page. The index lags behind the table, by well under a second as a rule: a batch may be missing from it or be named
 * under the status it had. The head decides: one that no longer has the status asked for is left out, and the page is
 * filled up from what follows, so that a page is short only at the end of the list.
 */
async function* listByIndex(table: Table, query: ListQuery): AsyncGenerator<BatchHead> {
  const { projectId, skip = 0, status, after } = query;
  const { name, partitionKey, sortKey } = TABLE.listIndex;
  const entries = queryRecords(table, {
    index: name,
    where: (e) => ({
      keys: e.equals(partitionKey, keys.project(projectId)),
      ...(status && { filter: e.equals('status', status) }),
    }),
    order: query.order,
    // A filter works after the limit, so a limit would only make more pages of it.
    ...(!status && { pageSize: skip + query.take + 1 }),
    ...(after !== undefined && {
      after: { ...keys.head({ projectId, batchId: after }), [partitionKey]: keys.project(projectId), [sortKey]: after },
    }),
  });
  let toSkip = skip;
  let page: string[] = [];
  const headsOfPage = async () => {
    const heads = await readHeads(table, projectId, page);
    page = [];
    return status ? heads.filter((head) => head.status === status) : heads;
  };
  for await (const entry of entries) {
    if (toSkip-- > 0) continue;
    page.push(parseRecord(ListEntrySchema, entry)[sortKey]);
    if (page.length > query.take) yield* await headsOfPage();
  }
  yield* await headsOfPage();
}

/** Heads in the order of the ids. */
async function readHeads(table: Table, projectId: string, batchIds: string[]): Promise<BatchHead[]> {
  const records = await batchGetRecords(
    table,
    batchIds.map((batchId) => keys.head({ projectId, batchId })),
  );
  const heads = new Map(records.map((record) => parseHead(record)).map((head) => [head.batchId, head]));
  return batchIds.flatMap((batchId) => heads.get(batchId) ?? []);
}

async function listDueOf(
  table: Table,
  partition: number,
  now: number,
  limit: number,
): Promise<{ dueAt: number; ref: BatchRef }[]> {
  const { name, partitionKey, sortKey } = TABLE.dueIndex;
  const entries = queryRecords(table, {
    index: name,
    where: (e) => ({
      keys: `${e.equals(partitionKey, keys.duePartition(partition))} AND ${e.name(sortKey)} <= ${e.value(now)}`,
    }),
    pageSize: limit,
  });
  return (await firstOf(entries, limit)).map((record) => {
    const entry = parseRecord(DueEntrySchema, record);
    return { dueAt: entry[sortKey], ref: refOfHead(entry) };
  });
}

/** Of these, the batches that wait for something and are not on the due index. The heads are read consistently. */
async function withoutDue(table: Table, refs: BatchRef[]): Promise<BatchRef[]> {
  const records = await batchGetRecords(table, refs.map(keys.head));
  return records
    .filter((record) => record[TABLE.dueIndex.partitionKey] === undefined)
    .map((record) => parseHead(record))
    .filter(
      ({ status, deliveredAt, delivery }) =>
        !isEnded(status) || (deliveredAt === undefined && delivery?.gaveUpAt === undefined),
    );
}
