import { setTimeout as sleep } from 'node:timers/promises';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import {
  BatchGetCommand,
  GetCommand,
  PutCommand,
  QueryCommand,
  type QueryCommandOutput,
  ScanCommand,
  type ScanCommandOutput,
  UpdateCommand,
} from '@aws-sdk/lib-dynamodb';
import type * as z from 'zod';
import { TABLE } from '../../contract/table.ts';
import type { Table } from './client.ts';
import { Expression } from './expression.ts';
import type { Key } from './keys.ts';

/** A stored record as it comes: unknown until its schema has seen it. */
export type StoredRecord = Record<string, unknown>;

/** The table holds what no code of ours writes. Names the record and each bad field, never a value. */
export class StoredRecordInvalid extends Error {
  override readonly name = 'StoredRecordInvalid';
}

export function parseRecord<S extends z.ZodType>(schema: S, record: StoredRecord): z.output<S> {
  const parsed = schema.safeParse(record);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(record)'}: ${issue.message}`);
  throw new StoredRecordInvalid(
    `The record ${record[TABLE.partitionKey]} / ${record[TABLE.sortKey]} is not as it should be. ${fields.join('; ')}`,
    { cause: parsed.error },
  );
}

/** Always a consistent read: what was acknowledged is seen, and a conflict is judged by what stands. */
export async function getRecord({ client, tableName }: Table, key: Key): Promise<StoredRecord | undefined> {
  const answer = await client.send(new GetCommand({ TableName: tableName, Key: key, ConsistentRead: true }));
  return answer.Item;
}

/** Whatever stands there, or nothing. */
export const always = (): undefined => undefined;

/** Writes the record if the condition holds; false if it does not. By default: if no such record is there. */
export async function putRecord(
  { client, tableName }: Table,
  record: StoredRecord & Key,
  when: (e: Expression) => string | undefined = (e) => e.absent(TABLE.partitionKey),
): Promise<boolean> {
  const e = new Expression();
  const ConditionExpression = when(e);
  return await unlessRefused(async () => {
    await client.send(
      new PutCommand({
        TableName: tableName,
        Item: record,
        ...(ConditionExpression !== undefined && { ConditionExpression, ...e.attributes }),
      }),
    );
    return true;
  }, false);
}

/** Without `when` it always holds, and makes the record where there is none. */
export type Update = { set?: string[]; remove?: string[]; when?: string };

/**
 * One conditional UpdateItem. Answers the record after it, or undefined where the condition does not hold. dynalite
 * ignores `ReturnValuesOnConditionCheckFailure`, so callers that want to know why read the record.
 */
export async function updateRecord(
  { client, tableName }: Table,
  key: Key,
  write: (e: Expression) => Update,
): Promise<StoredRecord | undefined> {
  const e = new Expression();
  const { set = [], remove = [], when } = write(e);
  const UpdateExpression = [
    set.length > 0 ? `SET ${set.join(', ')}` : '',
    remove.length > 0 ? `REMOVE ${remove.join(', ')}` : '',
  ].join(' ');
  return await unlessRefused(async () => {
    const answer = await client.send(
      new UpdateCommand({
        TableName: tableName,
        Key: key,
        UpdateExpression,
        ...(when !== undefined && { ConditionExpression: when }),
        ...e.attributes,
        ReturnValues: 'ALL_NEW',
      }),
    );
    return answer.Attributes;
  }, undefined);
}

async function unlessRefused<T, R>(write: () => Promise<T>, refused: R): Promise<T | R> {
  try {
    return await write();
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return refused;
    throw error;
  }
}

export type Range = {
  index?: string;
  /** Key condition, and a filter on what it finds. */
  where: (e: Expression) => { keys: string; filter?: string };
  order?: 'asc' | 'desc';
  /** Goes on after this key, which need not exist. */
  after?: Record<string, unknown> | undefined;
  /** Records read a page: not more than will be wanted, where that is known. */
  pageSize?: number;
  /**
   * Leaves out so many; not where there is a filter, which works after the limit. They are read, and paid for, as if they
   * were answered; but they are only counted, neither sent nor parsed.
   */
  skip?: number;
};

/** Streams a Query, page by page (a page ends at 1 MB). On the table itself the read is consistent; indexes have none. */
export async function* queryRecords({ client, tableName }: Table, range: Range): AsyncGenerator<StoredRecord> {
  let from = range.after;
  for (let left = range.skip ?? 0; left > 0; ) {
    const skipped = queryCommand(tableName, { ...range, after: from, pageSize: left }, 'COUNT');
    const page: QueryCommandOutput = await client.send(skipped);
    from = page.LastEvaluatedKey;
    if (from === undefined) return;
    left -= page.Count ?? 0;
  }
  do {
    const page: QueryCommandOutput = await client.send(queryCommand(tableName, { ...range, after: from }));
    yield* page.Items ?? [];
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
}

function queryCommand(tableName: string, range: Range, select?: 'COUNT'): QueryCommand {
  const e = new Expression();
  const { keys, filter } = range.where(e);
  return new QueryCommand({
    TableName: tableName,
    ...(range.index === undefined ? { ConsistentRead: true } : { IndexName: range.index }),
    KeyConditionExpression: keys,
    ...(filter !== undefined && { FilterExpression: filter }),
    ...e.attributes,
    ScanIndexForward: range.order !== 'desc',
    ...(range.pageSize !== undefined && { Limit: range.pageSize }),
    ...(range.after !== undefined && { ExclusiveStartKey: range.after }),
    ...(select && { Select: select }),
  });
}

/** Streams one of `parts` parts of an index from end to end, in no order. A page ends at 1 MB. */
export async function* scanIndex(
  { client, tableName }: Table,
  { index, part, parts }: { index: string; part: number; parts: number },
): AsyncGenerator<StoredRecord> {
  let from: ScanCommandOutput['LastEvaluatedKey'];
  do {
    const page: ScanCommandOutput = await client.send(
      new ScanCommand({
        TableName: tableName,
        IndexName: index,
        Segment: part,
        TotalSegments: parts,
        ...(from !== undefined && { ExclusiveStartKey: from }),
      }),
    );
    yield* page.Items ?? [];
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
}

/** BatchGetItem's limit. https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html */
const BATCH_GET_KEYS = 100;
/** Rounds over keys that DynamoDB left unprocessed: with pauses that double from 50 ms at most 1.6 s in all. */
const BATCH_GET_ROUNDS = 6;
const BATCH_GET_PAUSE_MS = 25;

/** Reads records by key, consistently, in no order; those that are not there are left out. */
export async function batchGetRecords(table: Table, keys: Key[], fields?: string[]): Promise<StoredRecord[]> {
  const chunks: Key[][] = [];
  for (let at = 0; at < keys.length; at += BATCH_GET_KEYS) chunks.push(keys.slice(at, at + BATCH_GET_KEYS));
  return (await Promise.all(chunks.map((chunk) => batchGetChunk(table, chunk, fields)))).flat();
}

async function batchGetChunk({ client, tableName }: Table, keys: Key[], fields?: string[]): Promise<StoredRecord[]> {
  const e = new Expression();
  const projection = fields && {
    ProjectionExpression: [TABLE.partitionKey, TABLE.sortKey, ...fields].map((field) => e.name(field)).join(', '),
  };
  const found: StoredRecord[] = [];
  let wanted: Record<string, unknown>[] = keys;
  for (let round = 0; round < BATCH_GET_ROUNDS; round++) {
    // Full jitter: many lists that were throttled together do not come back together.
    if (round > 0) await sleep(Math.random() * BATCH_GET_PAUSE_MS * 2 ** round);
    const answer = await client.send(
      new BatchGetCommand({
        RequestItems: { [tableName]: { Keys: wanted, ConsistentRead: true, ...projection, ...e.attributes } },
      }),
    );
    found.push(...(answer.Responses?.[tableName] ?? []));
    wanted = answer.UnprocessedKeys?.[tableName]?.Keys ?? [];
    if (wanted.length === 0) return found;
  }
  throw new Error(`DynamoDB left ${wanted.length} of ${keys.length} keys unread after ${BATCH_GET_ROUNDS} rounds`);
}
