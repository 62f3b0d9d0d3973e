import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../../shared/domain/batch.ts';
import { encodeSegment, segmentEntry } from '../../../shared/domain/lines/segment.ts';
import { objectKeys } from '../../../shared/domain/objectKeys.ts';
import { checkBatches } from '../../../shared/usecases/checkBatches.ts';
import { finalizeBatch } from '../../../shared/usecases/finalizeBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../../support/batchWorld.ts';
import { dyingPorts } from '../../support/dyingPorts.ts';
import { badLine, commitSegments, layDown } from '../../support/runBatch.ts';

let world: BatchWorld;
beforeEach(async () => {
  world = await startBatchWorld({ check: { lookAgainSeconds: 100, graceSeconds: 60 } });
});
afterEach(() => world.close());

const executions = (head: BatchHead) =>
  [1, 2, 3].map((attempt) => world.workflow.executions.get(`${head.batchId}-${attempt}`));

/** One of two lines is committed; `commitOther` commits the other. */
async function inTheMap() {
  const created = await createTestBatch(world);
  const { head, ranges } = await layDown(world, created, ['runnable', 'runnable'], 2);
  const commit = async (line: number) => {
    for (const range of ranges) await commitSegments(world, head, range, [[line]]);
  };
  await commit(1);
  await world.workflow.startBatch(head, 1);
  return { head, commitOther: () => commit(2) };
}

/** What a validation leaves that has found the only line bad. */
async function rejected(head: BatchHead) {
  const segment = encodeSegment([segmentEntry(1, 'e', badLine(head, 1))]);
  const key = objectKeys.invalid(head, 1);
  await world.files.put(key, segment);
  await world.batches.setPlan(head, 1, {
    key: objectKeys.plan(head, 1),
    shards: 0,
    lines: 1,
    runnable: 0,
    invalid: { key, bytes: segment.length, lines: 1 },
    input: { bytes: 3, sha256: 'input-sha' },
  });
  const fixedAt = world.clock.now();
  await world.batches.fixOutcome(head, { kind: 'failed', reason: 'invalid_input', message: 'Bad.', fixedAt });
}

async function finalize(head: BatchHead, settled: boolean) {
  const { attempt } = await headOf(world, head);
  const step = { version: 1 as const, projectId: head.projectId, batchId: head.batchId, attempt, settled };
  return finalizeBatch(world, step, { remainingMs: () => 900_000 });
}

describe('a batch that the check finds past its window', () => {
  test('is gathered by the next attempt, whose Finalize lets the workers commit before it seals', async () => {
    const { head, commitOther } = await inTheMap();
    world.clock.time = head.expiresAt + 60_001;
    await checkBatches(world);
    expect(await finalize(head, false)).toMatchObject({ next: 'settle', waitSeconds: 15, settled: true });
    // A worker that had the second line in flight commits it now.
    await commitOther();
    expect(await finalize(head, true)).toMatchObject({ next: 'end' });
    // All its lines are done, so that it is completed though late.
    expect(await headOf(world, head)).toMatchObject({
      status: 'completed',
      requestCounts: { completed: 2, failed: 0 },
    });
  });

  test('goes on to be gathered where Validate has just moved it on', async () => {
    const head = await createTestBatch(world);
    await world.workflow.startBatch(head, 1);
    world.clock.time = head.expiresAt + 60_001;
    let moved = false;
    const batches = {
      ...world.batches,
      async move(...args: Parameters<typeof world.batches.move>) {
        if (!moved) {
          moved = true;
          await layDown(world, head, ['runnable', 'runnable'], 2);
        }
        return world.batches.move(...args);
      },
    };
    expect(await checkBatches({ ...world, batches })).toMatchObject({ expired: 1 });
    expect(executions(head)).toEqual(['aborted', 'running', undefined]);
    await finalize(head, true);
    expect(await headOf(world, head)).toMatchObject({ status: 'expired', requestCounts: { completed: 0, failed: 2 } });
  });

  test('keeps its receipt where a Finalize ends it at the same moment', async () => {
    const created = await createTestBatch(world);
    await world.workflow.startBatch(created, 1);
    world.clock.time = created.expiresAt + 60_001;
    const controls = {
      ...world.controls,
      async stop(...args: Parameters<typeof world.controls.stop>) {
        await rejected(created);
        await finalize(created, true);
        await world.controls.stop(...args);
      },
    };
    expect(await checkBatches({ ...world, controls })).toMatchObject({ expired: 0, unchanged: 1 });
    expect(await headOf(world, created)).toMatchObject({ status: 'failed', errorsFile: { bytes: expect.any(Number) } });
    expect(await world.batches.getDetail(created.batchId)).toMatchObject({ receipt: { lines: 1, failed: 1 } });
  });

  test('has the receipt of a batch without files where a Finalize comes too late to end it', async () => {
    const created = await createTestBatch(world);
    await world.workflow.startBatch(created, 1);
    world.clock.time = created.expiresAt + 60_001;
    const gathering = await world.batches.takeGathering(created, 1);
    if (gathering === 'superseded') throw new Error('It is the newest attempt');
    const receipt = { lines: 1, completed: 0, failed: 1, input: null, output: null, errors: null };
    await world.batches.setReceipt(created.batchId, gathering, { receipt });
    expect(await checkBatches(world)).toMatchObject({ expired: 1 });
    const { setReceipt, move } = world.batches;
    expect(await setReceipt(created.batchId, gathering, { receipt })).toBe('superseded');
    expect(await move(created, 'failed', { now: world.clock.now(), gathering })).toMatchObject({ result: 'refused' });
    expect(await headOf(world, created)).toMatchObject({ status: 'expired' });
    expect(await world.batches.getDetail(created.batchId)).toMatchObject({ receipt: { lines: 0, failed: 0 } });
  });

  test('that is cancelled at the same moment ends as cancelled', async () => {
    const { head } = await inTheMap();
    world.clock.time = head.expiresAt + 60_001;
    const controls = {
      ...world.controls,
      async stop(...args: Parameters<typeof world.controls.stop>) {
        await world.controls.stop(...args);
        await world.batches.move(head, 'cancelling', { now: world.clock.now() });
      },
    };
    await checkBatches({ ...world, controls });
    await finalize(head, true);
    expect(await headOf(world, head)).toMatchObject({ status: 'cancelled', outcome: { kind: 'cancelled' } });
  });

  // get, setDue, get (control), stopBatch, stop, list, takeAttempt, startBatch.
  test.each([3, 4, 5, 6, 7])('is taken up by the next check where this one dies after %i calls', async (calls) => {
    const { head } = await inTheMap();
    world.clock.time = head.expiresAt + 60_001;
    const mortal = ['shards', 'controls', 'workflow', 'batches'] as const;
    const { listDue } = world.batches;
    const dying = dyingPorts(world, mortal, calls).deps;
    // The list of what is due is not a step of the look.
    await checkBatches({ ...dying, batches: Object.assign(Object.create(dying.batches), { listDue }) });
    for (let look = 0; look < 2; look++) {
      world.clock.time += 101_000;
      await checkBatches(world);
    }
    expect(executions(head)).toEqual(['aborted', 'running', undefined]);
    await finalize(head, true);
    expect(await headOf(world, head)).toMatchObject({ status: 'expired', requestCounts: { completed: 1, failed: 1 } });
  });
});
