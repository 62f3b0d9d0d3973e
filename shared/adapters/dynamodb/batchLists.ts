import * as z from 'zod';
import { DUE_PARTITIONS, TABLE } from '../../contract/table.ts';
import { BatchDetailSchema, type BatchHead, type BatchRef } from '../../domain/batch.ts';
import { BATCH_STATUSES, isEnded } from '../../domain/batchStatus.ts';
import { createdAtOf } from '../../domain/ids.ts';
import type { BatchStore, ListQuery, MissingDue } from '../../ports.ts';
import type { Table } from './client.ts';
import { BATCH, dueKey, keys, refOfHead } from './keys.ts';
import { batchGetRecords, parseRecord, queryRecords, StoredRecordInvalid, scanIndex, updateRecord } from './records.ts';
import { parseHead } from './storedHead.ts';

const ListedDetailSchema = BatchDetailSchema.pick({ batchId: true, description: true, metadata: true });
const ListEntrySchema = z.object({ [TABLE.listIndex.sortKey]: z.string() });
const DueEntrySchema = z.object({
  [TABLE.partitionKey]: z.string(),
  [TABLE.sortKey]: z.string(),
  [TABLE.dueIndex.sortKey]: z.number(),
});

const KeySchema = z.object({ [TABLE.partitionKey]: z.string(), [TABLE.sortKey]: z.string() });
const SweepEntrySchema = KeySchema.extend({
  // Whatever it is: a head that is not as it should be must not end the sweep.
  status: z.unknown(),
});
/** BatchGetItem takes 100 keys. */
const SWEEP_HEADS = 100;
/** A page of the index's scan has some 5,000 entries; of old batches nothing but these is read. */
const SWEEP_ENTRIES = 1_000;
/**
 * Ended batches older than this are taken as notified, or else each sweep would read the heads of all that ever were:
 * a window of 7 days, days to gather, and a notification of 3 days that a receiver's Retry-After can stretch to 9.
 */
const LONGEST_UNNOTIFIED_MS = 30 * 86_400_000;

/** Many batches at a time: a project's list, what *list* adds to it, and what is due. */
export function createBatchLists(
  table: Table,
): Pick<BatchStore, 'list' | 'getDetails' | 'listDue' | 'restoreDue' | 'listMissingDue'> {
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

    async restoreDue(ref, dueAt) {
      const restored = await updateRecord(table, keys.head(ref), (e) => ({
        set: Object.entries(dueKey(ref.batchId, dueAt)).map(([name, value]) => e.equals(name, value)),
        when: `${e.exists(TABLE.partitionKey)} AND ${e.absent(TABLE.dueIndex.partitionKey)}`,
      }));
      return restored ? 'restored' : 'there';
    },

    async *listMissingDue(now, { part, parts }) {
      let entries = 0;
      let refs: BatchRef[] = [];
      for await (const record of scanIndex(table, { index: TABLE.listIndex.name, part, parts })) {
        const { status, ...key } = parseRecord(SweepEntrySchema, record);
        const ref = refOfHead(key);
        if (isOpen(status) || createdAtOf(ref.batchId) >= now - LONGEST_UNNOTIFIED_MS) refs.push(ref);
        if (++entries < SWEEP_ENTRIES && refs.length < SWEEP_HEADS) continue;
        yield await withoutDue(table, refs);
        entries = 0;
        refs = [];
      }
      yield await withoutDue(table, refs);
    },
  };
}

/** A status that nobody knows is no end. */
function isOpen(status: unknown): boolean {
  return !BATCH_STATUSES.some((known) => known === status && isEnded(known));
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
    ...(!status && { skip, pageSize: query.take + 1 }),
    ...(after !== undefined && {
      after: { ...keys.head({ projectId, batchId: after }), [partitionKey]: keys.project(projectId), [sortKey]: after },
    }),
  });
  let toSkip = status ? skip : 0;
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
async function withoutDue(table: Table, refs: BatchRef[]): Promise<MissingDue[]> {
  const records = await batchGetRecords(table, refs.map(keys.head));
  return records
    .filter((record) => record[TABLE.dueIndex.partitionKey] === undefined)
    .flatMap((record): MissingDue[] => {
      const ref = refOfHead(parseRecord(KeySchema, record));
      try {
        return isWaiting(parseHead(record)) ? [{ ref, found: 'missing' }] : [];
      } catch (error) {
        if (!(error instanceof StoredRecordInvalid)) throw error;
        return [{ ref, found: 'unreadable', error }];
      }
    });
}

/** Open, or ended and its client neither told nor given up. */
function isWaiting({ status, deliveredAt, delivery }: BatchHead): boolean {
  return !isEnded(status) || (deliveredAt === undefined && delivery?.gaveUpAt === undefined);
}
