import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead, Outcome } from '../../../shared/domain/batch.ts';
import { finalizeBatch } from '../../../shared/usecases/finalizeBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../../support/batchWorld.ts';
import { commitSegments, layDown, readText } from '../../support/runBatch.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld({ worker: { settleSeconds: 12 } });
});
afterAll(() => world.close());

const step = (head: BatchHead, rest: { attempt?: number; settled?: boolean } = {}) => ({
  version: 1 as const,
  projectId: head.projectId,
  batchId: head.batchId,
  attempt: 1,
  ...rest,
});
const finalize = (input: ReturnType<typeof step>, deps: Parameters<typeof finalizeBatch>[0] = world) =>
  finalizeBatch(deps, input, { remainingMs: () => 900_000 });
const cancel = (head: BatchHead) => world.batches.move(head, 'cancelling', { now: world.clock.now() });
const nextAttempt = (head: BatchHead) => world.batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
const outcome = (kind: Outcome['kind'], message?: string): Outcome => ({
  kind,
  reason: 'before',
  fixedAt: 1,
  ...(message === undefined ? {} : { message }),
});
const codes = async (head: BatchHead) =>
  ((await readText(world, head.errorsFile?.key)).match(/"code":"\w+"/g) ?? []).map((code) => code.slice(8, -1));

/** One of two lines is committed, or both. */
async function ran(lines: 1 | 2): Promise<BatchHead> {
  const { head, ranges } = await layDown(world, await createTestBatch(world), ['runnable', 'runnable'], 2);
  for (const range of ranges) await commitSegments(world, head, range, lines === 1 ? [[1]] : [[1], [2]]);
  return head;
}

/** The world, in which something happens before a method of the batches is called for the first time. */
function happeningBefore<M extends 'fixOutcome' | 'move' | 'setReceipt'>(method: M, happens: () => Promise<unknown>) {
  let happened = false;
  const batches = Object.assign(Object.create(world.batches) as typeof world.batches, {
    [method]: async (...args: unknown[]) => {
      if (!happened) {
        happened = true;
        await happens();
      }
      return (world.batches[method] as (...all: unknown[]) => unknown)(...args);
    },
  });
  return { ...world, batches };
}

describe('an attempt that follows one that was stopped', () => {
  test.each(['cancelled', 'expired', 'failed'] as const)(
    'and was told %s gives the workers their time first, once',
    async (reason) => {
      const head = await ran(1);
      await world.controls.stop(head.batchId, reason);
      await nextAttempt(head);
      const answer = await finalize(step(head, { attempt: 2 }));
      expect(answer).toEqual({ ...step(head, { attempt: 2, settled: true }), next: 'settle', waitSeconds: 12 });
      for await (const record of world.shards.list(head.batchId)) expect(record.sealed).toBeFalsy();
      expect(await finalize(step(head, { attempt: 2, settled: true }))).toMatchObject({ next: 'end' });
      expect((await headOf(world, head)).status).toBe(reason);
    },
  );

  test('and was failed from outside gives the workers their time as well, be it the first attempt', async () => {
    const head = await ran(1);
    await world.batches.fixOutcome(head, { kind: 'failed', reason: 'step_died', fixedAt: world.clock.now() });
    expect(await finalize(step(head))).toMatchObject({ next: 'settle', waitSeconds: 12, settled: true });
    for await (const record of world.shards.list(head.batchId)) expect(record.sealed).toBeFalsy();
    expect(await finalize(step(head, { settled: true }))).toMatchObject({ next: 'end' });
    expect((await headOf(world, head)).status).toBe('failed');
  });

  test('gives them none where there are none', async () => {
    const validating = await createTestBatch(world);
    await world.controls.stop(validating.batchId, 'cancelled');
    await nextAttempt(validating);
    expect(await finalize(step(validating, { attempt: 2 }))).toMatchObject({ next: 'end' });

    const gathering = await ran(1);
    await world.batches.takeGathering(gathering, 1);
    await world.batches.fixOutcome(gathering, outcome('expired'));
    await world.controls.stop(gathering.batchId, 'cancelled');
    await nextAttempt(gathering);
    expect(await finalize(step(gathering, { attempt: 2 }))).toMatchObject({ next: 'end' });

    const first = await ran(1);
    await world.controls.stop(first.batchId, 'cancelled');
    expect(await finalize(step(first))).toMatchObject({ next: 'end' });
  });
});

describe('a cancel that comes while a batch is finalized', () => {
  test('after it was read and before its outcome is fixed: the lines that were not run say so', async () => {
    const head = await ran(1);
    world.clock.time = head.expiresAt;
    await finalize(
      step(head),
      happeningBefore('fixOutcome', () => cancel(head)),
    );
    const ended = await headOf(world, head);
    expect(ended).toMatchObject({ status: 'cancelled', outcome: { kind: 'cancelled' } });
    expect(await codes(ended)).toEqual(['batch_cancelled']);
  });

  test.each(['expired', 'failed', 'completed'] as const)(
    'after gathering has begun as %s: it ends as cancelled, and what was gathered stays',
    async (kind) => {
      const head = await ran(kind === 'completed' ? 2 : 1);
      await world.batches.fixOutcome(head, outcome(kind));
      await world.batches.move(head, 'finalizing', { now: world.clock.now() });
      await finalize(
        step(head),
        happeningBefore('setReceipt', () => cancel(head)),
      );
      const ended = await headOf(world, head);
      expect(ended).toMatchObject({ status: 'cancelled', outcome: { kind: 'cancelled', reason: 'cancelled' } });
      expect(await codes(ended)).toEqual(kind === 'completed' ? [] : [`batch_${kind}`]);
      expect((await world.batches.getDetail(head.batchId))?.errors.map(({ code }) => code)).toEqual(await codes(ended));
      expect(world.workflow.executions.get(`${head.batchId}-notify-1`)).toBe('running');
    },
  );

  test.each(['validating', 'finalizing'] as const)(
    'right before the last move of one that fails while %s: it ends as cancelled, never as failed',
    async (status) => {
      const head = await createTestBatch(world, { status, outcome: outcome('failed', 'It came to nothing.') });
      await finalize(
        step(head),
        happeningBefore('move', () => cancel(head)),
      );
      expect(await headOf(world, head)).toMatchObject({ status: 'cancelled', outcome: { kind: 'cancelled' } });
    },
  );

  test('and takes the next attempt: this one takes back its files, and that one ends the batch', async () => {
    const head = await ran(1);
    world.clock.time = head.expiresAt;
    await finalize(
      step(head),
      happeningBefore('setReceipt', async () => {
        await cancel(head);
        await nextAttempt(head);
      }),
    );
    expect(await headOf(world, head)).toMatchObject({ status: 'cancelling', attempt: 2 });
    await finalize(step(head, { attempt: 2 }));
    const ended = await headOf(world, head);
    expect(ended).toMatchObject({ status: 'cancelled', outcome: { kind: 'cancelled' } });
    // Nothing of the first attempt's is left: its reason was the deadline.
    expect(await codes(ended)).toEqual(['batch_cancelled']);
    expect(ended.errorsFile?.key).toContain('/2');
  });
});
