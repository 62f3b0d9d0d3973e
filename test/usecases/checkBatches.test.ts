import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CheckView } from '../../shared/contract/checkView.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import type { ShardRange } from '../../shared/domain/shard.ts';
import type { ExecutionStatus, Workflow } from '../../shared/ports.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';
import { commitSegments, layDown } from '../support/runBatch.ts';

let world: BatchWorld;
beforeEach(async () => {
  world = await startBatchWorld({
    check: { lookAgainSeconds: 100, graceSeconds: 60, maxIdleAttempts: 3, budgetSeconds: 15 },
  });
});
afterEach(() => world.close());

const NOTHING = {
  checked: 0,
  expired: 0,
  recovered: 0,
  failed: 0,
  notified: 0,
  unchanged: 0,
  has_more: false,
  batches: [],
};
const later = (seconds: number) => {
  world.clock.time += seconds * 1000;
};
const execution = (head: BatchHead, attempt: number, status: ExecutionStatus) =>
  world.workflow.executions.set(`${head.batchId}-${attempt}`, status);
const statusOf = (name: string) => world.workflow.executions.get(name);
/** A batch whose first execution has that status, and whose check is due. */
async function open(status: ExecutionStatus, overrides: Partial<BatchHead> = {}): Promise<BatchHead> {
  const head = await createTestBatch(world, overrides);
  if (status !== 'not_found') execution(head, head.attempt, status);
  later(150);
  return head;
}

describe('the check of open batches', () => {
  test('finds nothing where nothing is due', async () => {
    await createTestBatch(world);
    expect(await checkBatches(world)).toEqual(NOTHING);
  });

  test('leaves a batch alone whose execution runs, and looks again later', async () => {
    await open('running');
    expect(await checkBatches(world)).toEqual({ ...NOTHING, checked: 1, unchanged: 1 });
    expect(await checkBatches(world)).toEqual(NOTHING);
    later(100);
    expect(await checkBatches(world)).toMatchObject({ checked: 1 });
  });

  test('starts an execution that was never started, under its own number', async () => {
    const head = await open('not_found');
    expect(await checkBatches(world)).toEqual({
      ...NOTHING,
      checked: 1,
      recovered: 1,
      batches: [{ id: head.batchId, from: 'validating', to: 'validating', reason: 'execution_not_started' }],
    });
    expect(statusOf(`${head.batchId}-1`)).toBe('running');
    expect(await headOf(world, head)).toMatchObject({ attempt: 1, idleAttempts: 0 });
  });

  test.each([
    ['failed', 1],
    ['timed_out', 1],
    ['succeeded', 1],
    // Stopped from outside: that says nothing about the batch.
    ['aborted', 0],
    // As little as a deploy does.
    ['outdated', 0],
  ] as const)('starts the next attempt after one that has %s', async (status, idleAttempts) => {
    const head = await open(status);
    expect(await checkBatches(world)).toMatchObject({
      recovered: 1,
      batches: [{ id: head.batchId, reason: `execution_${status}` }],
    });
    expect(statusOf(`${head.batchId}-2`)).toBe('running');
    expect(await headOf(world, head)).toMatchObject({ attempt: 2, idleAttempts });
  });

  test('does not look into Step Functions for a batch that has just made progress', async () => {
    const head = await open('failed');
    await world.batches.addCounts(head, { completed: 1, failed: 0 }, world.clock.now());
    expect(await checkBatches(world)).toMatchObject({ unchanged: 1 });
    expect(statusOf(`${head.batchId}-2`)).toBeUndefined();
  });

  test('counts attempts only that committed nothing, and fails the batch after too many in a row', async () => {
    const created = await createTestBatch(world);
    const { head, ranges } = await layDown(world, created, ['runnable', 'runnable', 'runnable'], 3);
    const die = async () => {
      execution(head, (await headOf(world, head)).attempt, 'failed');
      later(3_600);
      return checkBatches(world);
    };
    await die();
    await die();
    expect(await headOf(world, head)).toMatchObject({ attempt: 3, idleAttempts: 2 });
    for (const range of ranges) await commitSegments(world, head, range, [[1]]);
    await die();
    expect(await headOf(world, head)).toMatchObject({ attempt: 4, idleAttempts: 0, committedAtAttempt: 1 });
    await die();
    await die();
    expect(await die()).toMatchObject({
      failed: 1,
      batches: [{ id: head.batchId, from: 'in_progress', to: 'failed', reason: 'step_died' }],
    });
    expect(await headOf(world, head)).toMatchObject({ attempt: 7, outcome: { kind: 'failed', reason: 'step_died' } });
    expect(await world.controls.get(head.batchId)).toMatchObject({ action: 'stop', reason: 'failed' });
    expect(statusOf(`${head.batchId}-7`)).toBe('running');
  });

  test('two at once start one attempt', async () => {
    const head = await open('failed');
    const both = await Promise.all([checkBatches(world), checkBatches(world)]);
    expect(both.reduce((sum, { recovered }) => sum + recovered, 0)).toBe(1);
    expect(await headOf(world, head)).toMatchObject({ attempt: 2 });
    expect(statusOf(`${head.batchId}-3`)).toBeUndefined();
  });

  test('an attempt that was taken but not started is started by a later look', async () => {
    const head = await open('failed');
    world.workflow.broken = true;
    expect(await checkBatches(world)).toMatchObject({ checked: 1, unchanged: 1 });
    world.workflow.broken = false;
    later(200);
    expect(await checkBatches(world)).toMatchObject({ recovered: 1 });
    expect(statusOf(`${head.batchId}-2`)).toBe('running');
  });

  test('one batch that cannot be looked at does not keep it from the others', async () => {
    const [bad, good] = [await open('failed'), await open('failed')];
    const { get } = world.batches;
    const batches = {
      ...world.batches,
      get: async (ref: Parameters<typeof get>[0]) => {
        if (ref.batchId === bad.batchId) throw new Error('unreadable');
        return get(ref);
      },
    };
    expect(await checkBatches({ ...world, batches })).toMatchObject({ checked: 2, recovered: 1 });
    expect(statusOf(`${good.batchId}-2`)).toBe('running');
  });

  test('ends when its time is over, and says that there is more', async () => {
    for (let count = 0; count < 12; count++) await open('running');
    const workflow = {
      ...world.workflow,
      describeBatch: async (...args: Parameters<typeof world.workflow.describeBatch>) => {
        later(3);
        return world.workflow.describeBatch(...args);
      },
    };
    const first = await checkBatches({ ...world, workflow });
    expect(first.has_more).toBe(true);
    expect(first.checked).toBeLessThan(12);
    const second = await checkBatches(world);
    expect(second).toMatchObject({ has_more: false, checked: 12 - first.checked });
  });
});

describe('attempts that come to nothing', () => {
  async function running(): Promise<{ head: BatchHead; ranges: ShardRange[] }> {
    const { head, ranges } = await layDown(world, await createTestBatch(world), ['runnable', 'runnable'], 1);
    return { head, ranges };
  }
  async function ends(head: BatchHead, status: ExecutionStatus): Promise<CheckView> {
    execution(head, (await headOf(world, head)).attempt, status);
    later(3_600);
    return checkBatches(world);
  }

  test('are not those that were stopped from outside: these neither count nor begin the count anew', async () => {
    const { head } = await running();
    await ends(head, 'failed');
    await ends(head, 'failed');
    for (let times = 0; times < 5; times++) expect(await ends(head, 'aborted')).toMatchObject({ recovered: 1 });
    expect(await headOf(world, head)).toMatchObject({ attempt: 8, idleAttempts: 2 });
    expect(await ends(head, 'failed')).toMatchObject({ failed: 1, batches: [{ reason: 'step_died' }] });
  });

  test('begin to count anew after one that was stopped and had committed something', async () => {
    const { head, ranges } = await running();
    await ends(head, 'failed');
    for (const range of ranges.slice(0, 1)) await commitSegments(world, head, range, [[1]]);
    await ends(head, 'aborted');
    expect(await headOf(world, head)).toMatchObject({ idleAttempts: 0, committedAtAttempt: 1 });
  });

  test('never fail a batch that is to end already: it is tried on, each hour, and the log says so', async () => {
    const { head } = await running();
    await world.batches.fixOutcome(head, { kind: 'completed', reason: 'all_done', fixedAt: world.clock.now() });
    await world.batches.move(head, 'finalizing', { now: world.clock.now() });
    for (let times = 0; times < 2; times++)
      expect(await ends(head, 'failed')).toMatchObject({ batches: [{ reason: 'execution_failed' }] });
    expect(world.log.entries).toEqual([]);
    for (let times = 0; times < 6; times++) {
      expect(await ends(head, 'failed')).toMatchObject({
        recovered: 1,
        batches: [{ id: head.batchId, from: 'finalizing', to: 'finalizing', reason: 'ending_failed' }],
      });
      expect(world.log.entries.splice(0)).toEqual([{ level: 'error', message: 'A batch cannot be ended' }]);
    }
    expect(await headOf(world, head)).toMatchObject({ attempt: 9, idleAttempts: 8, outcome: { kind: 'completed' } });
    expect(await world.batches.listDue(world.clock.now() + 3_599_000, 1)).toEqual([]);
    expect(await world.batches.listDue(world.clock.now() + 3_600_000, 1)).toHaveLength(1);
  });

  test('do not fail a batch that a faster look has moved on', async () => {
    const { head } = await running();
    await ends(head, 'failed');
    await ends(head, 'failed');
    const late = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const takeAttempt: typeof world.batches.takeAttempt = async (...args) => {
      arrived.resolve();
      await late.promise;
      return world.batches.takeAttempt(...args);
    };
    execution(head, 3, 'failed');
    later(3_600);
    const slow = checkBatches({ ...world, batches: { ...world.batches, takeAttempt } });
    await arrived.promise;
    await world.batches.takeAttempt(head, 3, { idleAttempts: 0, committedAtAttempt: 0 });
    late.resolve();
    expect(await slow).toMatchObject({ checked: 1, unchanged: 1 });
    expect(await headOf(world, head)).toMatchObject({ attempt: 4 });
    expect((await headOf(world, head)).outcome).toBeUndefined();
  });
});

describe('a check whose calls do not come back', () => {
  const never = new Promise<never>(() => undefined);
  // The answer comes 3 s after the budget.
  const settings = () => ({ ...world.settings, check: { ...world.settings.check, budgetSeconds: 1 } });

  test('answers what it has done, and that there is more', async () => {
    const stuck = await open('running');
    const lost = [await open('failed'), await open('failed')];
    const workflow: Workflow = {
      ...world.workflow,
      describeBatch: (batchId, attempt) =>
        batchId === stuck.batchId ? never : world.workflow.describeBatch(batchId, attempt),
    };
    // Each page is a batch of its own, so that the others have been looked at before the one that hangs.
    const due = [...lost, stuck];
    const batches = { ...world.batches, listDue: async () => due.splice(0, 1) };
    const view = await checkBatches({ ...world, workflow, batches, settings: settings() });
    expect(view).toMatchObject({ checked: 2, recovered: 2, has_more: true });
    expect(view.batches.map(({ id }) => id)).toEqual(lost.map(({ batchId }) => batchId));
    expect(world.log.entries).toEqual([
      { level: 'error', message: 'The check was cut off: calls that it made have not come back' },
    ]);
  });

  test('answers though not even the index can be read', async () => {
    const batches = { ...world.batches, listDue: () => never };
    expect(await checkBatches({ ...world, batches, settings: settings() })).toEqual({ ...NOTHING, has_more: true });
  });

  test('throws where the index refuses', async () => {
    const batches = { ...world.batches, listDue: async () => Promise.reject(new Error('AccessDenied')) };
    await expect(checkBatches({ ...world, batches })).rejects.toThrow('AccessDenied');
  });
});

describe('an index that lags or names what cannot be read', () => {
  test('a batch that it still names is looked at once a call', async () => {
    const heads = [await open('failed'), await open('running')];
    const stale = await world.batches.listDue(world.clock.now(), 10);
    const batches = { ...world.batches, listDue: async () => stale };
    expect(await checkBatches({ ...world, batches })).toMatchObject({ checked: 2, recovered: 1, has_more: false });
    expect(await headOf(world, heads[0] as BatchHead)).toMatchObject({ attempt: 2 });
  });

  test('batches that cannot be read are put off, and keep it from none of the others', async () => {
    const bad = new Set<string>();
    for (let count = 0; count < 60; count++) bad.add((await open('failed')).batchId);
    const good = await open('failed');
    const get: typeof world.batches.get = async (ref) => {
      if (bad.has(ref.batchId)) throw new Error('unreadable');
      return world.batches.get(ref);
    };
    later(86_400);
    expect(await checkBatches({ ...world, batches: { ...world.batches, get } })).toMatchObject({
      checked: 61,
      unchanged: 60,
      batches: [{ id: good.batchId }],
    });
    expect(await world.batches.listDue(world.clock.now(), 100)).toEqual([]);
    expect(await world.batches.listDue(world.clock.now() + 100_000, 100)).toHaveLength(61);
  });
});

describe('the check of batches past their window', () => {
  test('gives the machine a time of grace', async () => {
    const head = await open('running', { status: 'in_progress' });
    world.clock.time = head.expiresAt + 60_000;
    expect(await checkBatches(world)).toMatchObject({ unchanged: 1 });
  });

  test('stops a batch that runs on, and starts an attempt that gathers', async () => {
    const created = await createTestBatch(world);
    const { head, ranges } = await layDown(world, created, ['runnable', 'runnable'], 2);
    for (const range of ranges) await commitSegments(world, head, range, [[1]]);
    execution(head, 1, 'running');
    world.clock.time = head.expiresAt + 60_001;
    expect(await checkBatches(world)).toMatchObject({
      expired: 1,
      batches: [{ id: head.batchId, from: 'in_progress', to: 'expired', reason: 'window_over' }],
    });
    expect(await world.controls.get(head.batchId)).toMatchObject({ action: 'stop', reason: 'expired' });
    expect([statusOf(`${head.batchId}-1`), statusOf(`${head.batchId}-2`)]).toEqual(['aborted', 'running']);

    later(150);
    expect(await checkBatches(world)).toMatchObject({ unchanged: 1 });
    expect(statusOf(`${head.batchId}-2`)).toBe('running');

    await finalizeBatch(
      world,
      { version: 1, projectId: head.projectId, batchId: head.batchId, attempt: 2, settled: true },
      { remainingMs: () => 900_000 },
    );
    expect(await headOf(world, head)).toMatchObject({
      status: 'expired',
      requestCounts: { total: 2, completed: 1, failed: 1 },
    });
  });

  test('stops it at a later look where Step Functions refuses at first', async () => {
    const head = await createTestBatch(world);
    await layDown(world, head, ['runnable'], 1);
    execution(head, 1, 'running');
    later(86_400 + 61);
    const { stopBatch } = world.workflow;
    world.workflow.stopBatch = async () => {
      throw new Error('ThrottlingException');
    };
    expect(await checkBatches(world)).toMatchObject({ checked: 1, unchanged: 1 });
    expect(statusOf(`${head.batchId}-1`)).toBe('running');

    world.workflow.stopBatch = stopBatch;
    later(100);
    expect(await checkBatches(world)).toMatchObject({ checked: 1, expired: 1 });
    expect(statusOf(`${head.batchId}-1`)).toBe('aborted');
    expect(statusOf(`${head.batchId}-2`)).toBe('running');
  });

  test('ends one that is still validating', async () => {
    const head = await open('running');
    world.clock.time = head.expiresAt + 60_001;
    expect(await checkBatches(world)).toMatchObject({ expired: 1, batches: [{ from: 'validating', to: 'expired' }] });
    expect(await headOf(world, head)).toMatchObject({
      status: 'expired',
      outcome: { kind: 'expired' },
      notification: 1,
    });
    expect(statusOf(`${head.batchId}-1`)).toBe('aborted');
    expect(statusOf(`${head.batchId}-notify-1`)).toBe('running');
    expect(await world.batches.getDetail(head.batchId)).toMatchObject({ receipt: { lines: 0 } });
  });

  test('lets one that is being gathered go on', async () => {
    const head = await open('running', { status: 'finalizing' });
    world.clock.time = head.expiresAt + 3_600_000;
    expect(await checkBatches(world)).toMatchObject({ unchanged: 1 });
    expect(statusOf(`${head.batchId}-1`)).toBe('running');
  });
});

describe('the check of ended batches', () => {
  const notification = (head: BatchHead, number: number) => statusOf(`${head.batchId}-notify-${number}`);

  test('starts a notification that was never started', async () => {
    const head = await open('succeeded', { status: 'completed' });
    expect(await checkBatches(world)).toMatchObject({
      notified: 1,
      batches: [{ id: head.batchId, from: 'completed', to: 'completed', reason: 'notification_not_started' }],
    });
    expect(notification(head, 1)).toBe('running');
  });

  test('starts one that was lost under the next number, and leaves one that runs', async () => {
    const head = await open('succeeded', { status: 'failed', notification: 1 });
    world.workflow.executions.set(`${head.batchId}-notify-1`, 'aborted');
    expect(await checkBatches(world)).toMatchObject({ notified: 1, batches: [{ reason: 'notification_lost' }] });
    expect(notification(head, 2)).toBe('running');
    later(150);
    expect(await checkBatches(world)).toMatchObject({ checked: 1, unchanged: 1 });
    expect(notification(head, 3)).toBeUndefined();
  });

  test('starts one whose number was taken and not used under that number, twice at once only once', async () => {
    const head = await open('succeeded', { status: 'completed', notification: 4 });
    await Promise.all([checkBatches(world), checkBatches(world)]);
    expect([...world.workflow.executions.keys()].filter((name) => name.includes('-notify-'))).toEqual([
      `${head.batchId}-notify-4`,
    ]);
    expect(await headOf(world, head)).toMatchObject({ notification: 4 });
  });

  test('goes on to the number after one that was used up', async () => {
    const head = await open('succeeded', { status: 'completed', notification: 1 });
    world.workflow.executions.set(`${head.batchId}-notify-1`, 'failed');
    world.workflow.executions.set(`${head.batchId}-notify-2`, 'succeeded');
    expect(await checkBatches(world)).toMatchObject({ unchanged: 1 });
    later(150);
    expect(await checkBatches(world)).toMatchObject({ notified: 1, batches: [{ reason: 'notification_lost' }] });
    expect(notification(head, 3)).toBe('running');
  });

  test('looks ever less often at one that is lost again and again', async () => {
    const head = await open('succeeded', { status: 'completed' });
    const pauses: number[] = [];
    for (let number = 1; number <= 9; number++) {
      expect(await checkBatches(world)).toMatchObject({ notified: 1 });
      world.workflow.executions.set(`${head.batchId}-notify-${number}`, 'failed');
      let seconds = 0;
      for (; (await world.batches.listDue(world.clock.now(), 1)).length === 0; seconds += 100) later(100);
      pauses.push(seconds);
    }
    expect(pauses).toEqual([100, 100, 200, 400, 800, 1_600, 3_200, 3_600, 3_600]);
  });

  test.each([
    ['delivered', { deliveredAt: 1 }],
    ['given up', { delivery: { attempts: 10, gaveUpAt: 1 } }],
  ])('takes one that is %s off the index', async (_, overrides) => {
    await open('succeeded', { status: 'completed', notification: 1, ...overrides });
    expect(await checkBatches(world)).toMatchObject({ checked: 1, unchanged: 1 });
    later(1_000_000);
    expect(await checkBatches(world)).toEqual(NOTHING);
  });

  test('two at once start one notification', async () => {
    const head = await open('succeeded', { status: 'completed' });
    const both = await Promise.all([checkBatches(world), checkBatches(world)]);
    expect(both.reduce((sum, { notified }) => sum + notified, 0)).toBe(1);
    expect(notification(head, 2)).toBeUndefined();
  });

  test('starts no other one where the first delivers and ends between two calls of a look', async () => {
    const head = await open('succeeded', { status: 'completed', notification: 1 });
    const { describeNotification } = world.workflow;
    const workflow: Workflow = {
      ...world.workflow,
      describeNotification: async (batchId, number) => {
        await world.batches.setDelivery(head, { attempts: 1, lastStatus: 204 }, world.clock.now(), world.clock.now());
        world.workflow.executions.set(`${batchId}-notify-${number}`, 'succeeded');
        return describeNotification(batchId, number);
      },
    };
    expect(await checkBatches({ ...world, workflow })).toMatchObject({ checked: 1, unchanged: 1, batches: [] });
    expect(notification(head, 2)).toBeUndefined();
    expect(await headOf(world, head)).toMatchObject({ notification: 1 });
  });
});
