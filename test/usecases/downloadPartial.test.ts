import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { downloadPartial } from '../../shared/usecases/downloadPartial.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { snapshotBatch } from '../../shared/usecases/snapshotBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';
import { commitSegments, goodLine, layDown, runnableLines, type TestLine } from '../support/runBatch.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld();
});
afterAll(() => world.close());

const PLENTY = { remainingMs: () => 900_000 };
const kinds = Array<TestLine>(4).fill('runnable');
const caller = { projectId: 'project-a', role: 'viewer' as const };
const download = ({ batchId }: BatchHead) => downloadPartial(world, caller, batchId);
const started = ({ batchId }: BatchHead) =>
  [...world.workflow.executions.keys()].filter((name) => name.startsWith(`${batchId}-snapshot-`));
const REFRESH_MS = 60_000;

/** Runs the snapshot's execution as its machine would. */
async function runSnapshot(head: BatchHead, snapshot: number): Promise<void> {
  const { projectId, batchId } = head;
  await snapshotBatch(world, { version: 1, projectId, batchId, snapshot }, PLENTY);
  world.workflow.executions.set(`${batchId}-snapshot-${snapshot}`, 'succeeded');
}

async function running() {
  const laid = await layDown(world, await createTestBatch(world), kinds, 4);
  const [range] = laid.ranges;
  if (!range) throw new Error('one shard');
  return { head: laid.head, range };
}

describe('a partial download', () => {
  test('begins no snapshot while the batch is validating', async () => {
    const head = await createTestBatch(world);
    expect(await download(head)).toBe('not_yet');
    expect(started(head)).toEqual([]);
  });

  test('begins the first snapshot, and answers it once it is ready', async () => {
    const { head, range } = await running();
    await commitSegments(world, head, range, [[3, 1]]);
    expect(await download(head)).toBe('not_yet');
    expect(await download(head)).toBe('not_yet');
    expect(started(head)).toHaveLength(1);
    world.clock.time += 1_000;
    await runSnapshot(head, 1);
    const files = await download(head);
    if (files === 'not_yet') throw new Error('The snapshot is ready');
    expect(files).toMatchObject({ errorsFileUrl: null, asOf: world.clock.now() });
    const answer = await fetch(files.outputFileUrl ?? '');
    expect(await answer.text()).toBe(`${goodLine(head, 1)}\n${goodLine(head, 3)}\n`);
    expect(answer.headers.get('content-disposition')).toContain(`${head.batchId}-partial-output.jsonl`);
  });

  test('of a batch with nothing committed has a time and no files', async () => {
    const { head } = await running();
    await download(head);
    await runSnapshot(head, 1);
    const asOf = world.clock.now();
    expect(await download(head)).toEqual({
      outputFileUrl: null,
      errorsFileUrl: null,
      expiresAt: undefined,
      asOf,
    });
  });

  test('answers an old snapshot and begins the next, one a minute however often it is asked for', async () => {
    const { head } = await running();
    const from = world.clock.now();
    await download(head);
    await runSnapshot(head, 1);
    for (let second = 5; second <= 150; second += 5) {
      world.clock.time = from + second * 1_000;
      await Promise.all([download(head), download(head)]);
      const name = `${head.batchId}-snapshot-${started(head).length}`;
      // Each takes twenty seconds.
      if (second % 20 === 0 && world.workflow.executions.get(name) === 'running') {
        await runSnapshot(head, started(head).length);
      }
    }
    expect(started(head)).toHaveLength(3);
    expect(await download(head)).toMatchObject({ asOf: from + 120_000 });
  });

  test('begins none while one is being made, however long it takes', async () => {
    const { head } = await running();
    await download(head);
    world.clock.time += 10 * REFRESH_MS;
    expect(await download(head)).toBe('not_yet');
    expect(started(head)).toHaveLength(1);
  });

  test.each(['failed', 'timed_out', 'aborted', 'succeeded', 'not_found'] as const)(
    'takes one anew whose execution is %s without a result',
    async (status) => {
      const { head } = await running();
      await download(head);
      const [name = ''] = started(head);
      if (status === 'not_found') world.workflow.executions.delete(name);
      else world.workflow.executions.set(name, status);
      expect(await download(head)).toBe('not_yet');
      expect(await world.snapshots.get(head.batchId)).toMatchObject({ taken: 1 });
      world.clock.time += REFRESH_MS;
      await download(head);
      await runSnapshot(head, 2);
      expect(await download(head)).toMatchObject({ asOf: world.clock.now() });
    },
  );

  test('answers what is there where the next one cannot be begun', async () => {
    const { head } = await running();
    await download(head);
    await runSnapshot(head, 1);
    const asOf = world.clock.now();
    world.clock.time += REFRESH_MS;
    world.workflow.broken = true;
    expect(await download(head)).toMatchObject({ asOf });
    world.workflow.broken = false;
    world.clock.time += REFRESH_MS;
    await download(head);
    expect(started(head)).toHaveLength(2);
  });

  test('does not answer a snapshot that the bucket may have deleted', async () => {
    const { head } = await running();
    await download(head);
    await runSnapshot(head, 1);
    world.clock.time += 23 * 3_600_000;
    expect(await download(head)).toBe('not_yet');
    await runSnapshot(head, 2);
    expect(await download(head)).toMatchObject({ asOf: world.clock.now() });
  });

  test('of a batch that has ended has its files, as of its end', async () => {
    const { head, range } = await running();
    await commitSegments(world, head, range, [runnableLines(range, kinds)]);
    world.clock.time += 5_000;
    await finalizeBatch(world, { version: 1, ...caller, batchId: head.batchId, attempt: 1 }, PLENTY);
    const endedAt = world.clock.now();
    world.clock.time += 5_000;
    const files = await download(head);
    expect(files).toMatchObject({ asOf: endedAt });
    const answer = await fetch(files === 'not_yet' ? '' : (files.outputFileUrl ?? ''));
    expect(answer.headers.get('content-disposition')).toContain(`${head.batchId}-output.jsonl`);
    expect(await headOf(world, head)).toMatchObject({ status: 'completed' });
    expect(started(head)).toEqual([]);
  });

  test("of another project's batch is not found", async () => {
    const { head } = await running();
    const other = { projectId: 'project-b', role: 'owner' as const };
    await expect(downloadPartial(world, other, head.batchId)).rejects.toMatchObject({ error: 'not_found' });
    expect(started(head)).toEqual([]);
  });
});
