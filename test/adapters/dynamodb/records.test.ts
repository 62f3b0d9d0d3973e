import { type BatchGetCommand, PutCommand, type QueryCommandInput, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { ulid } from 'ulid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBatchStore } from '../../../shared/adapters/dynamodb/batchStore.ts';
import { createIdempotencyStore } from '../../../shared/adapters/dynamodb/idempotencyStore.ts';
import { duePartitionOf, keys } from '../../../shared/adapters/dynamodb/keys.ts';
import { batchGetRecords, getRecord } from '../../../shared/adapters/dynamodb/records.ts';
import { createUploadStore } from '../../../shared/adapters/dynamodb/uploadStore.ts';
import { DUE_PARTITIONS } from '../../../shared/contract/table.ts';
import { connectTo, startDynalite, type TestTable } from '../../support/dynalite.ts';
import { aBatch } from '../../support/records.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

describe('stored records', () => {
  test('a bad one is an error that names its key and field, and none of its values', async () => {
    const batches = createBatchStore(table);
    const { head } = aBatch();
    await batches.create(aBatch(head));
    await table.client.send(
      new UpdateCommand({
        TableName: table.tableName,
        Key: keys.head(head),
        UpdateExpression: 'SET requestCounts.completed = :bad',
        ExpressionAttributeValues: { ':bad': 'secret-value' },
      }),
    );
    const error = await batches.get(head).then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
    expect(error).toMatchObject({ name: 'StoredRecordInvalid' });
    expect(error?.message).toContain(`BATCH#${head.batchId}`);
    expect(error?.message).toContain('requestCounts.completed');
    expect(error?.message).not.toContain('secret-value');
  });

  test('a create that died before its head is finished by the next under its id, which leaves what stands there', async () => {
    const batches = createBatchStore(table);
    const batch = aBatch();
    const left = { ...batch.detail, description: 'left behind' };
    await table.client.send(
      new PutCommand({ TableName: table.tableName, Item: { ...keys.detail(batch.head.batchId), ...left } }),
    );
    expect(await batches.create(batch)).toBe('created');
    expect(await batches.get(batch.head)).toEqual(batch.head);
    expect(await batches.getDetail(batch.head.batchId)).toEqual(left);
  });

  test('a list index that lags behind is corrected by the heads', async () => {
    const batches = createBatchStore(table);
    const projectId = `project-${ulid()}`;
    const made = [1, 2, 3, 4].map((n) => aBatch({ projectId, createdAt: 1_768_000_000_000 + n }));
    for (const batch of made) await batches.create(batch);
    await batches.move(made[3]?.head ?? { projectId, batchId: '' }, 'failed', { now: 1 });
    const page = await createBatchStore(laggingIndex(table)).list({
      projectId,
      take: 2,
      order: 'desc',
      status: 'validating',
    });
    expect(page.batches.map((head) => head.batchId)).toEqual([made[2]?.head.batchId, made[1]?.head.batchId]);
    expect(page.hasMore).toBe(true);
  });

  test('records that age carry their TTL in seconds', async () => {
    const expiresAt = 1_768_000_000_500;
    await createIdempotencyStore(table).begin('p', 'k', { batchId: 'b', bodyHash: 'h', expiresAt }, 0);
    expect(await getRecord(table, keys.idempotency('p', 'k'))).toMatchObject({ ttl: 1_768_000_001 });
    const upload = { projectId: 'p', fileId: 'f', key: 'k', bytes: 1, contentType: 't', createdAt: 0, expiresAt };
    await createUploadStore(table).put(upload);
    expect(await getRecord(table, keys.upload('p', 'f'))).toMatchObject({ ttl: 1_768_000_001 });
  });

  test('keys that DynamoDB leaves unprocessed are asked for again, and not without end', async () => {
    const batches = createBatchStore(table);
    const made = Array.from({ length: 5 }, () => aBatch());
    for (const batch of made) await batches.create(batch);
    const wanted = made.map((batch) => keys.detail(batch.head.batchId));
    const found = await batchGetRecords(leavingUnread(table, 2), wanted);
    expect(found).toHaveLength(5);
    await expect(batchGetRecords(leavingUnread(table, 100), wanted)).rejects.toThrow('left 5 of 5 keys unread');
  });
});

/** dynalite's indexes never lag: here the filter on the status lets each entry through, as one from before would. */
function laggingIndex(table: TestTable): { client: TestTable['client']; tableName: string } {
  const client = connectTo(table.endpoint);
  client.middlewareStack.add(
    (next) => (args) => {
      const input = args.input as QueryCommandInput;
      const filter = input.FilterExpression;
      if (filter) args.input = { ...input, FilterExpression: `${filter} OR NOT (${filter})` } as typeof args.input;
      return next(args);
    },
    { step: 'initialize', name: 'laggingIndex', priority: 'high' },
  );
  return { client, tableName: table.tableName };
}

/** The first `rounds` of BatchGetItem read nothing. */
function leavingUnread(table: TestTable, rounds: number): { client: TestTable['client']; tableName: string } {
  let round = 0;
  const send = async (command: BatchGetCommand) => {
    if (++round > rounds) return await table.client.send(command);
    const all = command.input.RequestItems?.[table.tableName];
    return { Responses: {}, UnprocessedKeys: { [table.tableName]: all } };
  };
  // Only `send` is used of the client, and only with this command.
  return { client: { send } as unknown as TestTable['client'], tableName: table.tableName };
}

test('the due partitions are all used, about alike', () => {
  const counts = new Array<number>(DUE_PARTITIONS).fill(0);
  for (let n = 0; n < 8_000; n++) {
    const partition = duePartitionOf(`batch_${ulid()}`);
    counts[partition] = (counts[partition] ?? Number.NaN) + 1;
  }
  expect(counts).toHaveLength(DUE_PARTITIONS);
  // 1,000 each are expected; 800 is over six standard deviations (30) away.
  for (const count of counts) expect(count).toBeGreaterThan(800);
});
