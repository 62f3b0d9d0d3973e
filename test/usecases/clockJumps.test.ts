import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { isRecent } from '../../shared/domain/isRecent.ts';
import { cancelBatch } from '../../shared/usecases/cancelBatch.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';
import { downloadPartial } from '../../shared/usecases/downloadPartial.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { planShards } from '../../shared/usecases/planShards.ts';
import { snapshotBatch } from '../../shared/usecases/snapshotBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';
import { commitSegments, layDown } from '../support/runBatch.ts';
import { testModels } from '../support/shardWorld.ts';

const HOUR = 3_600_000;
const TEN_MINUTES = 600_000;
const MINUTE = 60_000;
const OWNER = { projectId: 'project-a', role: 'owner' } as const;
const PLENTY = { remainingMs: () => 900_000 };

let world: BatchWorld;
beforeEach(async () => {
  world = await startBatchWorld();
});
afterEach(() => world.close());

async function inTheMap(completionWindow = 24 * HOUR): Promise<BatchHead> {
  const created = await createTestBatch(world, { expiresAt: world.clock.now() + completionWindow });
  const { head, ranges } = await layDown(world, created, ['runnable', 'runnable'], 2);
  for (const range of ranges) await commitSegments(world, head, range, [[1]]);
  world.workflow.executions.set(`${head.batchId}-1`, 'running');
  return head;
}
const run = ({ projectId, batchId, attempt }: BatchHead) => ({ version: 1, projectId, batchId, attempt }) as const;
const execution = (head: BatchHead, attempt: number) => world.workflow.executions.get(`${head.batchId}-${attempt}`);
async function checkFor(minutes: number): Promise<void> {
  for (let minute = 0; minute < minutes; minute++) {
    world.clock.time += MINUTE;
    await checkBatches(world);
  }
}

test.each([
  [0, true],
  [-99, true],
  [99, true],
  [-100, false],
  [HOUR, false],
])('a time that lies %i ms ahead is recent: %s', (ahead, recent) => {
  expect(isRecent(1_000_000 + ahead, 1_000_000, 100)).toBe(recent);
});

/** One process's clock is wrong while it writes; all the others' are right. */
describe('what a clock has stamped that was an hour ahead', () => {
  async function ahead<T>(write: () => Promise<T>): Promise<T> {
    world.clock.time += HOUR;
    const answer = await write();
    world.clock.time -= HOUR;
    return answer;
  }

  test('keeps the check from no batch whose execution has died, once it is due', async () => {
    const head = await inTheMap();
    await ahead(() => world.batches.addCounts(head, { completed: 0, failed: 0 }, world.clock.now()));
    world.workflow.executions.set(`${head.batchId}-1`, 'failed');
    await checkFor(3);
    expect(execution(head, 2)).toBe('running');
  });

  test('puts a batch off by that hour at most', async () => {
    const head = await inTheMap();
    await ahead(() => checkBatches(world));
    world.workflow.executions.set(`${head.batchId}-1`, 'failed');
    await checkFor(63);
    expect(execution(head, 2)).toBe('running');
  });

  test('holds up no cancel that died half way', async () => {
    const head = await inTheMap();
    await ahead(() => world.batches.move(head, 'cancelling', { now: world.clock.now() }));
    await checkFor(3);
    expect([execution(head, 1), execution(head, 2)]).toEqual(['aborted', 'running']);
  });

  test('holds up no snapshot', async () => {
    const head = await inTheMap();
    await ahead(() => world.snapshots.take(head.batchId, 0, world.clock.now()));
    expect(await downloadPartial(world, OWNER, head.batchId)).toBe('not_yet');
    expect(world.workflow.executions.get(`${head.batchId}-snapshot-2`)).toBe('running');
    await ahead(() => snapshotBatch(world, { version: 1, ...OWNER, batchId: head.batchId, snapshot: 2 }, PLENTY));
    expect(await downloadPartial(world, OWNER, head.batchId)).toMatchObject({ outputFileUrl: expect.any(String) });
  });
});

describe('a clock that is set back ten minutes', () => {
  test('puts the check off by no more than that', async () => {
    const head = await inTheMap();
    await checkFor(3);
    world.workflow.executions.set(`${head.batchId}-1`, 'failed');
    world.clock.time -= TEN_MINUTES;
    await checkFor(13);
    expect(execution(head, 2)).toBe('running');
  });

  test('leaves a cancel as it is, and its end where it was', async () => {
    const head = await inTheMap();
    await cancelBatch(world, OWNER, head.batchId);
    world.clock.time -= TEN_MINUTES;
    await cancelBatch(world, OWNER, head.batchId);
    const cancelled = await headOf(world, head);
    expect(cancelled).toMatchObject({ status: 'cancelling', attempt: 2 });
    await finalizeBatch(world, { ...run(cancelled), settled: true }, PLENTY);
    const ended = await headOf(world, head);
    expect(ended).toMatchObject({ status: 'cancelled', requestCounts: { total: 2, completed: 1, failed: 1 } });
    await checkFor(15);
    expect({ ...(await headOf(world, head)), updatedAt: 0 }).toEqual({ ...ended, updatedAt: 0 });
  });

  test('between the decision to end and the end of gathering changes nothing: the outcome stands', async () => {
    const head = await inTheMap(HOUR);
    world.clock.time = head.expiresAt + 1;
    const deps = { ...world, models: testModels({ kind: 'simulator' }) };
    expect(await planShards(deps, { ...run(head), round: 0 })).toMatchObject({ next: 'finalize' });
    const batches = Object.assign(Object.create(world.batches) as typeof world.batches, {
      async fixOutcome(...args: Parameters<typeof world.batches.fixOutcome>) {
        world.clock.time -= TEN_MINUTES;
        return world.batches.fixOutcome(...args);
      },
    });
    await finalizeBatch({ ...world, batches }, run(head), PLENTY);
    expect(await headOf(world, head)).toMatchObject({ status: 'expired', requestCounts: { completed: 1, failed: 1 } });
  });
});

test('a clock that jumps an hour ahead brings a deadline forward by that hour and no more: what is paid for is kept', async () => {
  const [near, far] = [await inTheMap(HOUR), await inTheMap(3 * HOUR)];
  world.clock.time += HOUR + MINUTE;
  await checkFor(2);
  expect([execution(near, 1), execution(near, 2), execution(far, 1)]).toEqual(['aborted', 'running', 'running']);
  await finalizeBatch(world, { ...run(await headOf(world, near)), settled: true }, PLENTY);
  expect(await headOf(world, near)).toMatchObject({ status: 'expired', requestCounts: { completed: 1, failed: 1 } });
});
