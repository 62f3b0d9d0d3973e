import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../../shared/domain/batch.ts';
import type { ExecutionStatus } from '../../../shared/ports.ts';
import { cancelBatch } from '../../../shared/usecases/cancelBatch.ts';
import { checkBatches } from '../../../shared/usecases/checkBatches.ts';
import { finalizeBatch } from '../../../shared/usecases/finalizeBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../../support/batchWorld.ts';
import { dyingPorts } from '../../support/dyingPorts.ts';
import { commitSegments, layDown } from '../../support/runBatch.ts';

let world: BatchWorld;
beforeEach(async () => {
  world = await startBatchWorld({ check: { lookAgainSeconds: 100, graceSeconds: 60 } });
});
afterEach(() => world.close());

const CALLER = { projectId: 'project-a', role: 'owner' } as const;
const MORTAL = ['batches', 'controls', 'workflow'] as const;
const later = (seconds: number) => {
  world.clock.time += seconds * 1000;
};
const execution = (head: BatchHead, attempt: number, status: ExecutionStatus) =>
  world.workflow.executions.set(`${head.batchId}-${attempt}`, status);
const executions = (head: BatchHead) =>
  [1, 2, 3].map((attempt) => world.workflow.executions.get(`${head.batchId}-${attempt}`));
const NOT_CARRIED_OUT = { from: 'cancelling', to: 'cancelling', reason: 'cancel_not_carried_out' };

async function inTheMap(): Promise<BatchHead> {
  const created = await createTestBatch(world);
  const { head, ranges } = await layDown(world, created, ['runnable', 'runnable'], 2);
  for (const range of ranges) await commitSegments(world, head, range, [[1]]);
  execution(head, 1, 'running');
  return head;
}

/** A cancel that dies after so many calls of its ports: the second of them moves the status. */
async function cancelThatDies(head: BatchHead, calls: number): Promise<void> {
  await cancelBatch(dyingPorts(world, MORTAL, calls).deps, CALLER, head.batchId).catch((error: unknown) =>
    expect(error).toMatchObject({ name: 'ProcessDied' }),
  );
}

describe('the check of a batch that was cancelled', () => {
  // get, move, then setDue, stop, stopBatch: with them the next attempt is not taken yet.
  test.each([2, 3, 4, 5])('carries out a cancel that died after %i calls', async (calls) => {
    const head = await inTheMap();
    await cancelThatDies(head, calls);
    // Its due time may not have been brought forward; workers that were not told go on committing.
    later(calls === 2 ? 120 : 30);
    await world.batches.addCounts(head, { completed: 1, failed: 0 }, world.clock.now());
    expect(await checkBatches(world)).toMatchObject({
      checked: 1,
      recovered: 1,
      batches: [{ id: head.batchId, ...NOT_CARRIED_OUT }],
    });
    expect(await world.controls.get(head.batchId)).toMatchObject({ action: 'stop', reason: 'cancelled' });
    expect(executions(head)).toEqual(['aborted', 'running', undefined]);

    const { attempt } = await headOf(world, head);
    const step = { version: 1 as const, projectId: head.projectId, batchId: head.batchId, attempt, settled: true };
    await finalizeBatch(world, step, { remainingMs: () => 900_000 });
    expect(await headOf(world, head)).toMatchObject({
      status: 'cancelled',
      requestCounts: { completed: 1, failed: 1 },
    });
  });

  test('starts the next attempt where the cancel took it and died before the start', async () => {
    const head = await inTheMap();
    await cancelThatDies(head, 6);
    expect(executions(head)).toEqual(['aborted', undefined, undefined]);
    later(120);
    expect(await checkBatches(world)).toMatchObject({
      recovered: 1,
      batches: [{ reason: 'execution_not_started' }],
    });
    expect(executions(head)).toEqual(['aborted', 'running', undefined]);
  });

  test('leaves a cancel that is under way to whoever makes it, and looks again as soon as that must be through', async () => {
    const head = await inTheMap();
    // The execution has ended for the cancel's sake, which is no reason to recover it.
    await cancelThatDies(head, 5);
    await world.batches.setDue(head, world.clock.now());
    later(29);
    expect(await checkBatches(world)).toMatchObject({ checked: 1, unchanged: 1 });
    expect(executions(head)).toEqual(['aborted', undefined, undefined]);
    later(1);
    expect(await checkBatches(world)).toMatchObject({ recovered: 1, batches: [NOT_CARRIED_OUT] });
  });

  test('leaves the attempt that gathers alone, be it a new one or the one that was cancelled', async () => {
    const anew = await inTheMap();
    await cancelBatch(world, CALLER, anew.batchId);
    const asBefore = await inTheMap();
    await world.batches.fixOutcome(asBefore, { kind: 'completed', reason: 'all_done', fixedAt: 1 });
    await world.batches.move(asBefore, 'finalizing', { now: world.clock.now() });
    await cancelBatch(world, CALLER, asBefore.batchId);
    for (const seconds of [30, 100, 100]) {
      later(seconds);
      expect(await checkBatches(world)).toMatchObject({ checked: 2, unchanged: 2 });
    }
    expect(executions(anew)).toEqual(['aborted', 'running', undefined]);
    expect(executions(asBefore)).toEqual(['running', undefined, undefined]);
  });

  test.each(['failed', 'aborted', 'timed_out', 'succeeded'] as const)(
    'starts the next attempt after a gathering one that has %s, and never fails the batch',
    async (status) => {
      const head = await inTheMap();
      await cancelBatch(world, CALLER, head.batchId);
      for (let attempt = 2; attempt < 12; attempt++) {
        execution(head, attempt, status);
        later(3_601);
        expect(await checkBatches(world)).toMatchObject({
          recovered: 1,
          failed: 0,
          batches: [{ from: 'cancelling', to: 'cancelling' }],
        });
      }
      expect(await headOf(world, head)).toMatchObject({ status: 'cancelling', attempt: 12 });
    },
  );

  test('gives a new attempt to one that gathered when it was cancelled, and died since', async () => {
    const head = await inTheMap();
    await world.batches.fixOutcome(head, { kind: 'completed', reason: 'all_done', fixedAt: 1 });
    await world.batches.move(head, 'finalizing', { now: world.clock.now() });
    await cancelBatch(world, CALLER, head.batchId);
    execution(head, 1, 'failed');
    later(30);
    expect(await checkBatches(world)).toMatchObject({ recovered: 1, batches: [NOT_CARRIED_OUT] });
    expect(executions(head)).toEqual(['failed', 'running', undefined]);
  });

  test('does not expire it, however late', async () => {
    const head = await inTheMap();
    await cancelThatDies(head, 2);
    world.clock.time = head.expiresAt + 3_600_000;
    expect(await checkBatches(world)).toMatchObject({ expired: 0, recovered: 1, batches: [NOT_CARRIED_OUT] });
    expect(await world.controls.get(head.batchId)).toMatchObject({ reason: 'cancelled' });
  });

  test('two checks and a repeated cancel at once start one attempt', async () => {
    const head = await inTheMap();
    await cancelThatDies(head, 2);
    later(120);
    await Promise.all([checkBatches(world), checkBatches(world), cancelBatch(world, CALLER, head.batchId)]);
    expect(executions(head)).toEqual(['aborted', 'running', undefined]);
    expect(await headOf(world, head)).toMatchObject({ attempt: 2 });
  });
});
