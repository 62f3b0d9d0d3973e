import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { cancelBatch } from '../../shared/usecases/cancelBatch.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';
import { dyingPorts } from '../support/dyingPorts.ts';
import { commitSegments, goodLine, layDown, readText } from '../support/runBatch.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld();
});
afterAll(() => world.close());

const CALLER = { projectId: 'project-a', role: 'owner' } as const;
const cancel = (head: BatchHead, deps: Parameters<typeof cancelBatch>[0] = world) =>
  cancelBatch(deps, CALLER, head.batchId);
const statusOf = (head: BatchHead, attempt: number) => world.workflow.executions.get(`${head.batchId}-${attempt}`);
const run = (head: BatchHead, attempt = 1) => world.workflow.executions.set(`${head.batchId}-${attempt}`, 'running');
const EXPIRED = { kind: 'expired', reason: 'window_over', fixedAt: 1 } as const;

/** In the map: two of four lines are committed, and its first execution runs. */
async function inTheMap(): Promise<BatchHead> {
  const created = await createTestBatch(world);
  const { head, ranges } = await layDown(world, created, ['runnable', 'runnable', 'runnable', 'runnable'], 4);
  for (const range of ranges) await commitSegments(world, head, range, [[1, 2]]);
  run(head);
  return headOf(world, head);
}

async function finalize(head: BatchHead): Promise<BatchHead> {
  const { attempt } = await headOf(world, head);
  const step = { version: 1 as const, projectId: head.projectId, batchId: head.batchId, attempt, settled: true };
  await finalizeBatch(world, step, { remainingMs: () => 900_000 });
  return headOf(world, head);
}

describe('cancelling a batch', () => {
  test.each(['validating', 'in_progress', 'finalizing'] as const)(
    'that is %s answers it as cancelling, stops its workers and its execution, and starts one that gathers',
    async (status) => {
      const before = await createTestBatch(world, { status });
      run(before);
      const { head, detail } = await cancel(before);
      expect(head).toMatchObject({ status: 'cancelling', attemptAtCancel: 1 });
      expect(head.enteredAt.cancelling).toBe(world.clock.now());
      expect(detail?.batchId).toBe(before.batchId);
      expect(await world.controls.get(before.batchId)).toMatchObject({ action: 'stop', reason: 'cancelled' });
      expect([statusOf(before, 1), statusOf(before, 2), statusOf(before, 3)]).toEqual([
        'aborted',
        'running',
        undefined,
      ]);
      expect(await headOf(world, before)).toMatchObject({ status: 'cancelling', attempt: 2, idleAttempts: 0 });
    },
  );

  test('in the map keeps what was committed, and says of the rest that it was cancelled', async () => {
    const before = await inTheMap();
    await cancel(before);
    const ended = await finalize(before);
    expect(ended).toMatchObject({
      status: 'cancelled',
      outcome: { kind: 'cancelled' },
      requestCounts: { total: 4, completed: 2, failed: 2 },
    });
    expect(await readText(world, ended.outputFile?.key)).toBe(`${goodLine(before, 1)}\n${goodLine(before, 2)}\n`);
    const failed = (await readText(world, ended.errorsFile?.key)).trim().split('\n');
    expect(failed.map((line) => JSON.parse(line))).toMatchObject([
      { line: 3, response: null, error: { code: 'batch_cancelled' }, attempts: 0 },
      { line: 4, response: null, error: { code: 'batch_cancelled' }, attempts: 0 },
    ]);
  });

  test('while validating leaves no files', async () => {
    const before = await createTestBatch(world);
    run(before);
    await cancel(before);
    const ended = await finalize(before);
    expect(ended).toMatchObject({ status: 'cancelled', requestCounts: { total: 0, completed: 0, failed: 0 } });
    expect(ended).not.toHaveProperty('outputFile');
    expect(ended).not.toHaveProperty('errorsFile');
  });

  test('again gives the same answer, and does not touch the attempt that gathers', async () => {
    const before = await inTheMap();
    const first = await cancel(before);
    world.clock.time += 1_000;
    const second = await cancel(before);
    expect(second.head).toMatchObject({ status: 'cancelling', enteredAt: first.head.enteredAt, attempt: 2 });
    expect([statusOf(before, 1), statusOf(before, 2), statusOf(before, 3)]).toEqual(['aborted', 'running', undefined]);
    const ended = await finalize(before);
    expect((await cancel(before)).head).toEqual(ended);
    expect(ended.status).toBe('cancelled');
  });

  test('twice at once starts one attempt', async () => {
    const before = await inTheMap();
    const answers = await Promise.all([cancel(before), cancel(before), cancel(before)]);
    expect(answers.map(({ head }) => head.status)).toEqual(['cancelling', 'cancelling', 'cancelling']);
    expect(await headOf(world, before)).toMatchObject({ attempt: 2 });
    expect([statusOf(before, 1), statusOf(before, 2), statusOf(before, 3)]).toEqual(['aborted', 'running', undefined]);
  });

  test.each(['completed', 'failed', 'expired'] as const)('that is %s is a conflict', async (status) => {
    const before = await createTestBatch(world, { status });
    await expect(cancel(before)).rejects.toMatchObject({ code: 409, message: expect.stringContaining(status) });
    expect(await headOf(world, before)).toEqual(before);
    expect(await world.controls.get(before.batchId)).toMatchObject({ action: 'run' });
  });

  test('that ends between the look and the move is a conflict', async () => {
    const before = await createTestBatch(world, { status: 'finalizing' });
    const batches = {
      ...world.batches,
      async move(...args: Parameters<typeof world.batches.move>) {
        await world.batches.move(before, 'completed', { now: world.clock.now() });
        return world.batches.move(...args);
      },
    };
    await expect(cancel(before, { ...world, batches })).rejects.toMatchObject({ code: 409 });
    expect(await headOf(world, before)).toMatchObject({ status: 'completed' });
    expect(await world.controls.get(before.batchId)).toMatchObject({ action: 'run' });
  });

  test("of another project, or one that is not there, is no batch of the caller's", async () => {
    const before = await createTestBatch(world, { projectId: 'project-b' });
    await expect(cancel(before)).rejects.toMatchObject({ code: 404 });
    await expect(cancelBatch(world, CALLER, 'batch_nonsense')).rejects.toMatchObject({ code: 404 });
    expect(await headOf(world, before)).toEqual(before);
  });

  test('whose execution was never started starts the one that gathers; the late start finds itself superseded', async () => {
    const before = await createTestBatch(world);
    await cancel(before);
    expect([statusOf(before, 1), statusOf(before, 2)]).toEqual([undefined, 'running']);
    expect(await headOf(world, before)).toMatchObject({ attempt: 2, attemptAtCancel: 1 });
  });

  test('is due for the check half a minute later, however long it would have slept, and a repeat does not put it off', async () => {
    const before = await createTestBatch(world);
    await world.batches.setDue(before, world.clock.now() + 3_600_000);
    await cancel(before);
    const isDue = async (at: number) =>
      (await world.batches.listDue(at, 1_000)).some(({ batchId }) => batchId === before.batchId);
    const cancelledAt = world.clock.now();
    world.clock.time += 20_000;
    await cancel(before);
    expect(await isDue(cancelledAt + 29_999)).toBe(false);
    expect(await isDue(cancelledAt + 30_000)).toBe(true);
  });
});

describe('a batch that gathers already', () => {
  test('is left to the attempt that does, which ends it as cancelled with what it has', async () => {
    const before = await inTheMap();
    await world.batches.fixOutcome(before, EXPIRED);
    await world.batches.move(before, 'finalizing', { now: world.clock.now() });
    await cancel(before);
    await cancel(before);
    expect([statusOf(before, 1), statusOf(before, 2)]).toEqual(['running', undefined]);
    expect(await finalize(before)).toMatchObject({
      status: 'cancelled',
      attempt: 1,
      outcome: { kind: 'cancelled' },
      requestCounts: { completed: 2, failed: 2 },
    });
  });

  test.each(['failed', 'aborted', 'timed_out', 'not_found'] as const)(
    'but whose execution is %s gets a new one',
    async (execution) => {
      const before = await createTestBatch(world, { status: 'finalizing', outcome: EXPIRED });
      if (execution !== 'not_found') world.workflow.executions.set(`${before.batchId}-1`, execution);
      await cancel(before);
      expect(statusOf(before, 2)).toBe('running');
      expect(await finalize(before)).toMatchObject({ status: 'cancelled' });
    },
  );

  test('because its input is bad ends as cancelled, not as failed', async () => {
    const before = await createTestBatch(world);
    run(before);
    await world.batches.fixOutcome(before, { kind: 'failed', reason: 'invalid_input', fixedAt: before.createdAt });
    await cancel(before);
    expect(await finalize(before)).toMatchObject({ status: 'cancelled', outcome: { kind: 'cancelled' } });
  });
});

describe('a cancel that dies half way', () => {
  const MORTAL = ['batches', 'controls', 'workflow'] as const;
  /** Every call of a port that a cancel makes: it may die before any of them. */
  const STEPS = ['get', 'move', 'setDue', 'stop', 'stopBatch', 'takeAttempt', 'startBatch', 'getDetail'];

  test('has as many steps as these tests go through', async () => {
    const before = await inTheMap();
    const { deps, made } = dyingPorts(world, MORTAL, Number.POSITIVE_INFINITY);
    await cancel(before, deps);
    expect(made()).toBe(STEPS.length);
  });

  test.each(STEPS.map((step, calls) => [step, calls] as const))(
    'before %s is finished by the next one',
    async (_, calls) => {
      const before = await inTheMap();
      const { deps } = dyingPorts(world, MORTAL, calls);
      await cancel(before, deps).catch((error: unknown) => expect(error).toMatchObject({ name: 'ProcessDied' }));
      expect((await cancel(before)).head.status).toBe('cancelling');
      expect(await world.controls.get(before.batchId)).toMatchObject({ action: 'stop', reason: 'cancelled' });
      expect([statusOf(before, 1), statusOf(before, 2), statusOf(before, 3)]).toEqual([
        'aborted',
        'running',
        undefined,
      ]);
      expect(await finalize(before)).toMatchObject({ status: 'cancelled', requestCounts: { completed: 2, failed: 2 } });
    },
  );

  test('for Step Functions refuses is answered as cancelling, since it is on the record', async () => {
    const before = await inTheMap();
    const workflow = { ...world.workflow, stopBatch: () => Promise.reject(new Error('ThrottlingException')) };
    expect((await cancel(before, { ...world, workflow })).head.status).toBe('cancelling');
    expect(await world.controls.get(before.batchId)).toMatchObject({ action: 'stop', reason: 'cancelled' });
  });
});
