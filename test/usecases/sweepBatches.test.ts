import { BatchWriteCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { keys } from '../../shared/adapters/dynamodb/keys.ts';
import { TABLE } from '../../shared/contract/table.ts';
import type { BatchHead, BatchRef } from '../../shared/domain/batch.ts';
import type { BatchStore, Invocation, MissingDue } from '../../shared/ports.ts';
import { sweepBatches } from '../../shared/usecases/sweepBatches.ts';
import { manualClock } from '../support/batchWorld.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { recordedLog } from '../support/recordedLog.ts';
import { aBatch, aHead } from '../support/records.ts';

const DAY_MS = 86_400_000;
const ALL_THE_TIME: Invocation = { remainingMs: () => 900_000 };

let table: TestTable;
let batches: BatchStore;
let clock: ReturnType<typeof manualClock>;
let log: ReturnType<typeof recordedLog>;
beforeEach(async () => {
  table = await startDynalite();
  batches = createBatchStore(table);
  clock = manualClock();
  log = recordedLog();
});
afterEach(() => table.close());

const sweep = (invocation = ALL_THE_TIME) => sweepBatches({ batches, clock, log }, invocation);
const dueNow = async () => (await batches.listDue(clock.time, 1_000)).map(({ batchId }) => batchId).sort();
const missing = ({ projectId, batchId }: BatchRef) => ({ ref: { projectId, batchId }, found: 'missing' });

/** A batch that the due index does not name. */
async function lost(fields: Partial<BatchHead> = {}): Promise<BatchHead> {
  const { head, ...rest } = aBatch({ createdAt: clock.time, ...fields });
  await batches.create({ head, ...rest });
  await batches.setDue(head, undefined);
  return head;
}

test('batches that wait for something are put back on the due index, and no others', async () => {
  const waiting = [
    await lost({ status: 'validating' }),
    await lost({ status: 'in_progress' }),
    // However old it is: it has not ended.
    await lost({ status: 'finalizing', createdAt: clock.time - 100 * DAY_MS }),
    await lost({ status: 'cancelling' }),
    await lost({ status: 'completed' }),
    await lost({ status: 'failed', notification: 1, delivery: { attempts: 2, nextAttemptAt: clock.time + 1 } }),
    await lost({ status: 'expired', createdAt: clock.time - 29 * DAY_MS }),
  ];
  await lost({ status: 'completed', deliveredAt: clock.time });
  await lost({ status: 'cancelled', delivery: { attempts: 10, gaveUpAt: clock.time } });
  await lost({ status: 'completed', createdAt: clock.time - 31 * DAY_MS });

  expect(await sweep()).toEqual({ restored: waiting.length, unreadable: 0, partsLeft: 0 });
  expect(await dueNow()).toEqual(waiting.map(({ batchId }) => batchId).sort());
  expect(log.lines).toHaveLength(waiting.length);
  expect(await sweep()).toEqual({ restored: 0, unreadable: 0, partsLeft: 0 });
});

test('a batch that is on the index stays due when it was', async () => {
  const { head } = aBatch({ createdAt: clock.time });
  await batches.create(aBatch(head, { dueAt: clock.time + 3_600_000 }));
  expect(await sweep()).toMatchObject({ restored: 0 });
  expect(await dueNow()).toEqual([]);
});

test('a batch that somebody else has just put back is due when that one says', async () => {
  const head = await lost();
  const racing: BatchStore = {
    ...batches,
    async *listMissingDue(now, options) {
      for await (const found of batches.listMissingDue(now, options)) {
        if (found.length > 0) await batches.setDue(head, clock.time + 3_600_000);
        yield found;
      }
    },
  };
  expect(await sweepBatches({ batches: racing, clock, log }, ALL_THE_TIME)).toMatchObject({ restored: 0 });
  expect(await dueNow()).toEqual([]);
  expect(await batches.listDue(clock.time + 3_600_000, 10)).toHaveLength(1);
});

test.each([
  ['a field is of the wrong type', 'attempt', 'one'],
  ['its status is unknown', 'status', 'dreaming'],
])(
  'a record that cannot be read (%s) is reported and keeps the sweep from none of the others',
  async (_, field, value) => {
    const broken = await lost({ status: 'in_progress' });
    await table.client.send(
      new UpdateCommand({
        TableName: table.tableName,
        Key: keys.head(broken),
        UpdateExpression: 'SET #field = :value',
        ExpressionAttributeNames: { '#field': field },
        ExpressionAttributeValues: { ':value': value },
      }),
    );
    const others = [
      await lost({ projectId: broken.projectId }),
      await lost({ projectId: broken.projectId }),
      await lost(),
    ];
    expect(await sweep()).toEqual({ restored: 3, unreadable: 1, partsLeft: 0 });
    expect(await dueNow()).toEqual(others.map(({ batchId }) => batchId).sort());
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([
      {
        level: 'error',
        message: 'The record of a batch cannot be read',
        fields: { batchId: broken.batchId, error: expect.objectContaining({ name: 'StoredRecordInvalid' }) },
      },
    ]);
  },
);

test('more than a page of a project’s batches are read, each once', async () => {
  const heads = Array.from({ length: 1_230 }, (_, n) =>
    // Most of them have long ended.
    aHead(
      n % 5 === 0
        ? { projectId: 'project-large', createdAt: clock.time + n }
        : { projectId: 'project-large', createdAt: clock.time - 60 * DAY_MS + n, status: 'completed', deliveredAt: 1 },
    ),
  );
  for (let at = 0; at < heads.length; at += 25) {
    const requests = heads.slice(at, at + 25).map((head) => ({
      PutRequest: {
        Item: {
          ...keys.head(head),
          [TABLE.listIndex.partitionKey]: keys.project(head.projectId),
          [TABLE.listIndex.sortKey]: head.batchId,
          ...head,
        },
      },
    }));
    await table.client.send(new BatchWriteCommand({ RequestItems: { [table.tableName]: requests } }));
  }
  const found: MissingDue[] = [];
  for (let part = 0; part < 4; part++)
    for await (const some of batches.listMissingDue(clock.time, { part, parts: 4 })) found.push(...some);
  const byId = (a: { ref: BatchRef }, b: { ref: BatchRef }) => (a.ref.batchId < b.ref.batchId ? -1 : 1);
  expect(found.toSorted(byId)).toEqual(
    heads
      .filter(({ status }) => status === 'validating')
      .map(missing)
      .toSorted(byId),
  );
});

test('one that runs out of time says so, and another day’s sweep reads what it has left', async () => {
  const heads: BatchHead[] = [];
  for (let project = 0; project < 40; project++) heads.push(await lost({ projectId: `project-${project}` }));

  /** Time for three of the parts, or so. */
  const short = (): Invocation => {
    let looks = 0;
    return { remainingMs: () => (++looks < 3 ? 900_000 : 30_000) };
  };
  const first = await sweep(short());
  expect(first.partsLeft).toBeGreaterThan(12);
  expect(first.restored).toBeLessThan(40);
  expect(log.lines.at(-1)).toMatchObject({ level: 'error', message: 'The sweep ran out of time' });

  for (let day = 0; day < 16; day++) {
    clock.time += DAY_MS;
    await sweep(short());
  }
  expect(await dueNow()).toEqual(heads.map(({ batchId }) => batchId).sort());
});
