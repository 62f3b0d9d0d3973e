import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { gatherCancelled } from '../../shared/usecases/gatherCancelled.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld();
});
afterAll(() => world.close());

const executions = (head: BatchHead) =>
  [1, 2, 3].map((attempt) => world.workflow.executions.get(`${head.batchId}-${attempt}`));
const NO_PROGRESS = { idleAttempts: 0, committedAtAttempt: 0 };

/** Cancelled, with nothing carried out yet. */
async function justCancelled(fields: Partial<BatchHead> = {}): Promise<BatchHead> {
  const created = await createTestBatch(world, fields);
  world.workflow.executions.set(`${created.batchId}-1`, 'running');
  await world.batches.move(created, 'cancelling', { now: world.clock.now() });
  return headOf(world, created);
}

describe('gathering a cancelled batch', () => {
  test('tells the workers before it stops the execution, and stops that before the next one is there', async () => {
    const head = await justCancelled();
    const steps: string[] = [];
    const told = <A extends unknown[], R>(name: string, work: (...args: A) => R) => {
      return (...args: A): R => {
        steps.push(name);
        return work(...args);
      };
    };
    const deps = {
      ...world,
      controls: { ...world.controls, stop: told('tell', world.controls.stop) },
      batches: { ...world.batches, takeAttempt: told('take', world.batches.takeAttempt) },
      workflow: {
        ...world.workflow,
        stopBatch: told('stop', world.workflow.stopBatch),
        startBatch: told('start', world.workflow.startBatch),
      },
    };
    expect(await gatherCancelled(deps, head)).toBe('started');
    expect(steps).toEqual(['tell', 'stop', 'take', 'start']);
  });

  test('leaves it to the check where that took the next attempt in between, and tells the workers all the same', async () => {
    const head = await justCancelled();
    await world.batches.takeAttempt(head, 1, NO_PROGRESS);
    await world.workflow.startBatch(head, 2);
    expect(await gatherCancelled(world, head)).toBe('under_way');
    expect(await gatherCancelled(world, await headOf(world, head))).toBe('under_way');
    expect(executions(head)).toEqual(['aborted', 'running', undefined]);
    expect(await headOf(world, head)).toMatchObject({ attempt: 2 });
    expect(await world.controls.get(head.batchId)).toMatchObject({ action: 'stop', reason: 'cancelled' });
  });

  test('starts an attempt that was taken and not started, and none again that has ended', async () => {
    const head = await justCancelled();
    await world.batches.takeAttempt(head, 1, NO_PROGRESS);
    const taken = await headOf(world, head);
    await gatherCancelled(world, taken);
    expect(executions(head)).toEqual(['running', 'running', undefined]);
    world.workflow.executions.set(`${head.batchId}-2`, 'failed');
    expect(await gatherCancelled(world, taken)).toBe('under_way');
    expect(executions(head)).toEqual(['running', 'failed', undefined]);
  });

  test('does nothing more where the batch has ended meanwhile', async () => {
    const head = await justCancelled();
    await world.batches.fixOutcome(head, { kind: 'cancelled', reason: 'cancelled', fixedAt: 1 });
    await world.batches.move(head, 'cancelled', { now: world.clock.now() });
    world.workflow.executions.set(`${head.batchId}-1`, 'succeeded');
    expect(await gatherCancelled(world, head)).toBe('under_way');
    expect(executions(head)).toEqual(['succeeded', undefined, undefined]);
    expect(await headOf(world, head)).toMatchObject({ status: 'cancelled', attempt: 1 });
  });
});
