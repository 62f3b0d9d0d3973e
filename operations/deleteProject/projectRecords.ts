import { setTimeout as sleep } from 'node:timers/promises';
import {
  BatchWriteCommand,
  type BatchWriteCommandOutput,
  QueryCommand,
  type QueryCommandOutput,
  ScanCommand,
  type ScanCommandOutput,
} from '@aws-sdk/lib-dynamodb';
import * as z from 'zod';
import type { Table } from '../../shared/adapters/dynamodb/client.ts';
import { BATCH, keys } from '../../shared/adapters/dynamodb/keys.ts';
import { TABLE } from '../../shared/contract/table.ts';
import { BATCH_STATUSES, type BatchStatus, isEnded } from '../../shared/domain/batchStatus.ts';

/**
 * Kinds of records, in the order in which they are deleted: keys first, so that none makes a new batch meanwhile. Tokens of
 * an identity provider are shut out at the issuer (docs/operations.md).
 */
export const RECORD_KINDS = [
  'API keys',
  'entries of API keys',
  'webhook secret',
  'uploads',
  'idempotency keys',
  'counts of quotas',
  'shards',
  'details, controls and snapshots of batches',
  // Last: they name what belongs to a batch, so that a run that was cut off finds the rest by them.
  'batches',
] as const;
export type RecordKind = (typeof RECORD_KINDS)[number];

/** A record's primary key, under the table's own attribute names. */
type Key = Record<string, string>;
export type ProjectRecords = {
  byKind: Record<RecordKind, Key[]>;
  /** Batches that have not ended. */
  open: { batchId: string; status: BatchStatus | 'unknown' }[];
};

const { partitionKey: PK, sortKey: SK } = TABLE;
const Entry = z.object({
  [PK]: z.string(),
  [SK]: z.string(),
  projectId: z.string().optional(),
  status: z.string().optional(),
});
type Entry = z.infer<typeof Entry>;

/** Segments of the scan that are read side by side. */
const SEGMENTS = 8;

/**
 * Finds every record of a project. Uploads and idempotency keys are under hashes and ids that nothing lists, so the whole
 * table is read, once, keys alone; the project's batches are known before.
 */
export async function findRecords(
  table: Table,
  projectId: string,
  onRead: (more: number) => void,
): Promise<ProjectRecords> {
  const heads = await readHeads(table, projectId);
  const batchIds = new Set(heads.map(batchIdOf));
  const byKind = Object.fromEntries(RECORD_KINDS.map((kind) => [kind, [] as Key[]])) as ProjectRecords['byKind'];
  byKind.batches.push(...heads.map(keyOf));
  const belongs = kindsOf(projectId, batchIds);
  await Promise.all(
    Array.from({ length: SEGMENTS }, async (_, segment) => {
      for await (const { entries, scanned } of scan(table, segment)) {
        for (const entry of entries) {
          const kind = belongs(entry);
          if (kind) byKind[kind].push(keyOf(entry));
        }
        onRead(scanned);
      }
    }),
  );
  const open = heads.flatMap((head): ProjectRecords['open'] => {
    const status = BATCH_STATUSES.find((known) => known === head.status);
    // A head whose status nothing can read counts as open: somebody has to look first.
    return status !== undefined && isEnded(status) ? [] : [{ batchId: batchIdOf(head), status: status ?? 'unknown' }];
  });
  return { byKind, open };
}

const batchIdOf = (head: Entry): string => head[SK].slice(BATCH.length);
const keyOf = ({ [PK]: partition, [SK]: sort }: Entry): Key => ({ [PK]: partition, [SK]: sort });

/** What a record is to the project; undefined for another's, and for the batches, which are known already. */
function kindsOf(projectId: string, batchIds: ReadonlySet<string>): (entry: Entry) => RecordKind | undefined {
  // Project ids hold no `#` (`PROJECT_ID`), so that what stands before the last one is this project's alone.
  const owned = (key: Key) => `${key[PK]}`.slice(0, `${key[PK]}`.lastIndexOf('#') + 1);
  const uploads = owned(keys.upload(projectId, ''));
  const idempotency = owned(keys.idempotency(projectId, ''));
  const quotas = keys.openBatches(projectId)[PK];
  const webhook = keys.webhookSecret(projectId)[PK];
  const apiKeys = owned(keys.apiKey(''));
  return (entry) => {
    const partition = entry[PK];
    if (partition === webhook) return 'webhook secret';
    if (partition === quotas) return 'counts of quotas';
    if (partition.startsWith(uploads)) return 'uploads';
    if (partition.startsWith(idempotency)) return 'idempotency keys';
    if (partition.startsWith(BATCH)) {
      const [batchId = '', part] = partition.slice(BATCH.length).split('#');
      if (!batchIds.has(batchId)) return undefined;
      return part === undefined ? 'details, controls and snapshots of batches' : 'shards';
    }
    if (entry.projectId !== projectId) return undefined;
    if (partition === keys.apiKeyPartition) return 'entries of API keys';
    return partition.startsWith(apiKeys) ? 'API keys' : undefined;
  };
}

async function readHeads({ client, tableName }: Table, projectId: string): Promise<Entry[]> {
  const heads: Entry[] = [];
  let from: Record<string, unknown> | undefined;
  do {
    const page: QueryCommandOutput = await client.send(
      new QueryCommand({
        TableName: tableName,
        ConsistentRead: true,
        KeyConditionExpression: '#pk = :project',
        ProjectionExpression: '#pk, #sk, #status',
        ExpressionAttributeNames: { '#pk': PK, '#sk': SK, '#status': 'status' },
        ExpressionAttributeValues: { ':project': keys.project(projectId) },
        ...(from && { ExclusiveStartKey: from }),
      }),
    );
    heads.push(...(page.Items ?? []).map((item) => Entry.parse(item)));
    from = page.LastEvaluatedKey;
  } while (from);
  return heads;
}

async function* scan(
  { client, tableName }: Table,
  segment: number,
): AsyncGenerator<{ entries: Entry[]; scanned: number }> {
  let from: Record<string, unknown> | undefined;
  do {
    const page: ScanCommandOutput = await client.send(
      new ScanCommand({
        TableName: tableName,
        ConsistentRead: true,
        Segment: segment,
        TotalSegments: SEGMENTS,
        ProjectionExpression: '#pk, #sk, #project',
        ExpressionAttributeNames: { '#pk': PK, '#sk': SK, '#project': 'projectId' },
        ...(from && { ExclusiveStartKey: from }),
      }),
    );
    yield { entries: (page.Items ?? []).map((item) => Entry.parse(item)), scanned: page.ScannedCount ?? 0 };
    from = page.LastEvaluatedKey;
  } while (from);
}

/** BatchWriteItem's limit. https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html */
const DELETES_A_REQUEST = 25;
const DELETES_AT_ONCE = 8;
const LONGEST_PAUSE_MS = 5_000;

/** Deletes one kind after the other. What is gone already is no failure. */
export async function deleteRecords(
  table: Table,
  { byKind }: ProjectRecords,
  kinds: readonly RecordKind[],
  onDeleted: (more: number) => void,
): Promise<void> {
  for (const kind of kinds) {
    const left = [...byKind[kind]];
    const lane = async () => {
      for (let some = left.splice(0, DELETES_A_REQUEST); some.length > 0; some = left.splice(0, DELETES_A_REQUEST)) {
        await deleteSome(table, some);
        onDeleted(some.length);
      }
    };
    await Promise.all(Array.from({ length: DELETES_AT_ONCE }, lane));
  }
}

async function deleteSome({ client, tableName }: Table, some: Key[]): Promise<void> {
  let left: NonNullable<BatchWriteCommandOutput['UnprocessedItems']>[string] = some.map((Key) => ({
    DeleteRequest: { Key },
  }));
  // What DynamoDB had no capacity for comes back, and is asked for again for as long as it takes.
  for (let pauseMs = 50; ; pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs)) {
    const answer = await client.send(new BatchWriteCommand({ RequestItems: { [tableName]: left } }));
    left = answer.UnprocessedItems?.[tableName] ?? [];
    if (left.length === 0) return;
    await sleep(Math.random() * pauseMs);
  }
}
