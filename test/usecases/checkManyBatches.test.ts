import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createControlStore } from '../../shared/adapters/dynamodb/controlStore.ts';
import { dueKey, keys } from '../../shared/adapters/dynamodb/keys.ts';
import { createShardStore } from '../../shared/adapters/dynamodb/shardStore.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import type { CheckDeps } from '../../shared/usecases/checkBatches/look.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';
import { manualClock } from '../support/batchWorld.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { recordedLog } from '../support/recordedLog.ts';
import { aHead } from '../support/records.ts';

const OPEN = 10_000;
/** Every hundredth execution is lost. */
const isLost = (n: number) => n % 100 === 0;
/** DescribeExecution's share of a call, and the looks that have begun when it is used up. */
const MOST_DESCRIBES = 200 + 5;

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

/** Entries of the index, many at a time and with little more than their keys: 10,000 whole batches would take minutes. */
async function putDue(heads: BatchHead[], dueAt: (n: number) => number): Promise<void> {
  const requests = heads.map((head, n) => ({
    PutRequest: { Item: { ...keys.head(head), ...dueKey(head.batchId, dueAt(n)), attempt: 1, status: 'in_progress' } },
  }));
  for (let at = 0; at < requests.length; at += 25)
    await table.client.send(
      new BatchWriteCommand({ RequestItems: { [table.tableName]: requests.slice(at, at + 25) } }),
    );
}

test('repeated calls get round 10,000 open batches, each within its bounds, those first that are due longest', {
  // Some 12,000 requests to the table.
  timeout: 300_000,
}, async () => {
  const clock = manualClock();
  const start = clock.time;
  const numbers = new Map<string, number>();
  const heads = Array.from({ length: OPEN }, (_, n) => {
    const head = aHead({ projectId: `project-${n % 7}`, createdAt: start - 1_000_000, expiresAt: start + 86_400_000 });
    numbers.set(head.batchId, n);
    return head;
  });
  // The order in which they are due is not that in which they were made.
  const age = (n: number) => (n * 7_919) % OPEN;
  await putDue(heads, (n) => start - OPEN + age(n));
  const numberOf = (batchId: string) => numbers.get(batchId) ?? Number.NaN;

  let described: number[] = [];
  const started: string[] = [];
  const deps: CheckDeps = {
    // The index is the real one.
    batches: { ...createBatchStore(table), get: async ({ batchId }) => heads[numberOf(batchId)] },
    shards: createShardStore(table),
    controls: createControlStore(table),
    clock,
    log: recordedLog(),
    settings: SettingsSchema.parse({}),
    workflow: {
      describeBatch: async (batchId) => {
        described.push(numberOf(batchId));
        return isLost(numberOf(batchId)) ? 'failed' : 'running';
      },
      startBatch: async ({ batchId }, attempt) => {
        started.push(`${batchId}-${attempt}`);
        return 'started';
      },
      startNotification: refuse,
      describeNotification: refuse,
      stopBatch: refuse,
      startSnapshot: refuse,
      describeSnapshot: refuse,
    },
  };

  const looked: number[] = [];
  let calls = 0;
  for (let more = true; more; calls++) {
    described = [];
    const view = await checkBatches(deps);
    expect(described.length).toBeLessThanOrEqual(MOST_DESCRIBES);
    expect(view).toMatchObject({ checked: described.length, recovered: view.batches.length });
    expect(JSON.stringify(view).length).toBeLessThan(200 * MOST_DESCRIBES);
    // Within a group of looks that run side by side any may be first.
    looked.push(...described);
    more = view.has_more;
  }
  expect(calls).toBeLessThanOrEqual(OPEN / 200 + 1);
  expect(looked.toSorted((a, b) => a - b)).toEqual(heads.map((_, n) => n));
  expect(looked.every((n, place) => Math.abs(age(n) - place) < 5)).toBe(true);
  const lost = heads.filter((_, n) => isLost(n)).map(({ batchId }) => `${batchId}-2`);
  expect(started.toSorted()).toEqual(lost.toSorted());
  expect(await deps.batches.listDue(start, 1)).toEqual([]);
});

test('a call ends after 1,000 looks, though none of them had to ask Step Functions', async () => {
  const clock = manualClock();
  const head = aHead({ projectId: 'project-bounded', createdAt: clock.time, expiresAt: clock.time - 1_000_000 });
  let listed = 0;
  const deps: CheckDeps = {
    batches: {
      ...createBatchStore(table),
      // Without end, as though each moment more became due.
      listDue: async (_, limit) =>
        Array.from({ length: limit }, () => ({ projectId: head.projectId, batchId: `batch_${listed++}` })),
      get: async ({ batchId }) => ({ ...head, batchId }),
      setDue: async () => undefined,
      takeAttempt: async () => 'taken',
      move: async (_, status) => ({ result: 'moved', head: { ...head, status } }),
      takeGathering: async () => 1,
      setReceipt: async () => 'set',
      takeNotification: async () => 'taken',
    },
    shards: createShardStore(table),
    controls: { get: async () => ({ action: 'run', deadline: head.expiresAt }), stop: async () => undefined },
    clock,
    log: recordedLog(),
    settings: SettingsSchema.parse({}),
    workflow: {
      describeBatch: refuse,
      startBatch: refuse,
      startNotification: async () => 'started',
      describeNotification: refuse,
      stopBatch: async () => undefined,
      startSnapshot: refuse,
      describeSnapshot: refuse,
    },
  };
  const view = await checkBatches(deps);
  expect(view).toMatchObject({ checked: 1_000, expired: 1_000, has_more: true });
  expect(JSON.stringify(view).length).toBeLessThan(200_000);
});

function refuse(): never {
  throw new Error('Not called here');
}
