import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { failBatch } from '../../shared/usecases/failBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';
import { commitSegments, layDown } from '../support/runBatch.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld({ check: { maxIdleAttempts: 3, lookAgainSeconds: 10 } });
});
afterAll(() => world.close());

const fail = (head: BatchHead, error = 'States.TaskFailed', attempt = head.attempt) =>
  failBatch(world, {
    version: 1,
    projectId: head.projectId,
    batchId: head.batchId,
    attempt,
    error: { Error: error, Cause: '{"errorMessage":"secret"}' },
  });
const dueBy = async (head: BatchHead, afterMs: number) =>
  (await world.batches.listDue(world.clock.now() + afterMs, 1_000)).some(({ batchId }) => batchId === head.batchId);

describe('after a step failed for good', () => {
  test('the execution fails, and the check looks soon', async () => {
    const head = await createTestBatch(world);
    expect(await fail(head)).toMatchObject({ next: 'give_up', attempt: 1 });
    expect(await headOf(world, head)).not.toHaveProperty('outcome');
    expect([await dueBy(head, 9_999), await dueBy(head, 10_000)]).toEqual([false, true]);
  });

  test('the batch is failed once its attempts have come to nothing too often', async () => {
    const head = await createTestBatch(world, { attempt: 3, idleAttempts: 2 });
    expect(await fail(head)).toMatchObject({ next: 'finalize' });
    expect(await headOf(world, head)).toMatchObject({ outcome: { kind: 'failed', reason: 'step_died' } });
    // Workers that are still in flight commit what they have.
    expect(await world.controls.get(head.batchId)).toMatchObject({ action: 'stop', reason: 'failed' });
  });

  test('an attempt that committed something starts the count anew', async () => {
    const created = await createTestBatch(world, { idleAttempts: 2 });
    const { head, ranges } = await layDown(world, created, ['runnable', 'runnable'], 2);
    for (const range of ranges) await commitSegments(world, head, range, [[1]]);
    expect(await fail(head)).toMatchObject({ next: 'give_up' });
  });

  test.each(['InputRejected', 'FileChanged', 'FileMissing'])(
    'an error that would come again (%s) fails it at once',
    async (error) => {
      const head = await createTestBatch(world);
      expect(await fail(head, error)).toMatchObject({ next: 'finalize' });
      const { outcome } = await headOf(world, head);
      expect(outcome).toMatchObject({ kind: 'failed', reason: 'processing_failed' });
      expect(outcome?.message).not.toContain('secret');
    },
  );

  test('of a batch whose end is decided, it is tried again, ever less often', async () => {
    const head = await createTestBatch(world, { idleAttempts: 7 });
    await world.batches.fixOutcome(head, { kind: 'completed', reason: 'all_done', fixedAt: world.clock.now() });
    expect(await fail(head, 'ResultsInconsistent')).toMatchObject({ next: 'give_up' });
    expect(await headOf(world, head)).toMatchObject({ outcome: { kind: 'completed' } });
    expect([await dueBy(head, 600_000), await dueBy(head, 3_600_000)]).toEqual([false, true]);
  });

  test('a batch that is being cancelled is never failed because of it', async () => {
    const head = await createTestBatch(world, { status: 'cancelling', idleAttempts: 9 });
    expect(await fail(head, 'FileChanged')).toMatchObject({ next: 'give_up' });
  });

  test('nothing is done for a batch that has ended or for an older attempt', async () => {
    const done = await createTestBatch(world, { status: 'completed' });
    expect(await fail(done)).toMatchObject({ next: 'end' });
    const newer = await createTestBatch(world, { attempt: 2 });
    expect(await fail(newer, 'FileChanged', 1)).toMatchObject({ next: 'end' });
    expect(await headOf(world, newer)).not.toHaveProperty('outcome');
  });
});
