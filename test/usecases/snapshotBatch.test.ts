import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { FileMissing } from '../../shared/ports.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { snapshotBatch } from '../../shared/usecases/snapshotBatch.ts';
import { type BatchWorld, createTestBatch, startBatchWorld } from '../support/batchWorld.ts';
import {
  badLine,
  commitSegments,
  failedLine,
  goodLine,
  layDown,
  readText,
  runnableLines,
  type TestLine,
} from '../support/runBatch.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld();
});
afterAll(() => world.close());

const PLENTY = { remainingMs: () => 900_000 };
const step = ({ projectId, batchId }: BatchHead, snapshot: number, checkpoint?: string) => ({
  version: 1 as const,
  projectId,
  batchId,
  snapshot,
  ...(checkpoint === undefined ? {} : { checkpoint }),
});
const lines = (count: number, kind: TestLine = 'runnable') => Array<TestLine>(count).fill(kind);
const take = async (head: BatchHead, snapshot: number) => {
  expect(await world.snapshots.take(head.batchId, snapshot - 1, world.clock.now())).toBe('taken');
  return snapshotBatch(world, step(head, snapshot), PLENTY);
};
const readyOf = async (head: BatchHead) => (await world.snapshots.get(head.batchId))?.ready ?? [];
const newest = async (head: BatchHead) => {
  const ready = (await readyOf(head)).at(-1);
  return {
    ready,
    output: await readText(world, ready?.output?.key),
    errors: await readText(world, ready?.errors?.key),
  };
};
const goodLines = (head: BatchHead, ...numbers: number[]) =>
  numbers.map((line) => `${goodLine(head, line)}\n`).join('');
const finalize = (head: BatchHead) => finalizeBatch(world, { ...run(head), attempt: 1 }, PLENTY);
const run = ({ projectId, batchId }: BatchHead) => ({ version: 1 as const, projectId, batchId });

describe('a snapshot of a running batch', () => {
  test('has what is committed in line order with gaps, failed and bad lines too, and seals nothing', async () => {
    const kinds: TestLine[] = [...lines(5), 'bad', 'blank', ...lines(5), 'bad', ...lines(4), 'bad'];
    const { head, ranges } = await layDown(world, await createTestBatch(world), kinds, 6);
    const [first, second] = ranges;
    if (!first || !second) throw new Error('two shards at least');
    await commitSegments(world, head, first, [[4, 2], [1]], { failed: (line) => line === 2 });
    await commitSegments(world, head, second, [[12, 9], [8]], { foldAt: 1 });
    world.clock.time += 5_000;
    const begun = world.clock.now();

    expect(await take(head, 1)).toEqual({ ...step(head, 1), next: 'end' });
    const { ready, output, errors } = await newest(head);
    expect(output).toBe(goodLines(head, 1, 4, 8, 9, 12));
    expect(errors).toBe(
      [failedLine(head, 2), ...[6, 13, 18].map((line) => badLine(head, line))].join('\n').concat('\n'),
    );
    expect(ready).toMatchObject({
      snapshot: 1,
      asOf: begun,
      output: { key: objectKeys.snapshot(head, 1, 'output'), bytes: Buffer.byteLength(output) },
    });

    // The workers go on, and the next one shows more.
    await commitSegments(world, head, first, [[3, 5]]);
    await take(head, 2);
    expect((await newest(head)).output).toBe(goodLines(head, 1, 3, 4, 5, 8, 9, 12));
    expect((await world.shards.get(head.batchId, 0))?.sealed).toBe(false);
  });

  test('has no files where nothing is committed', async () => {
    const { head } = await layDown(world, await createTestBatch(world), lines(4), 2);
    await take(head, 1);
    expect(await readyOf(head)).toEqual([{ snapshot: 1, asOf: world.clock.now(), readyAt: world.clock.now() }]);
  });

  test('that is too long for one invocation goes on in the next, with what was committed meanwhile', async () => {
    const kinds: TestLine[] = Array.from({ length: 300 }, (_, index) => (index % 7 === 3 ? 'bad' : 'runnable'));
    const { head, ranges } = await layDown(world, await createTestBatch(world), kinds, 100);
    for (const range of ranges) {
      const even = runnableLines(range, kinds).filter((line) => line % 2 === 0);
      await commitSegments(world, head, range, [even]);
    }
    expect(await world.snapshots.take(head.batchId, 0, world.clock.now())).toBe('taken');
    const begun = world.clock.now();
    let checkpoint: string | undefined;
    let invocations = 0;
    for (;;) {
      let looks = 0;
      const invocation = { remainingMs: () => (looks++ < 60 ? 1_000 : 0) };
      const answer = await snapshotBatch(world, step(head, 1, checkpoint), invocation);
      invocations++;
      if (answer.next === 'end') break;
      checkpoint = answer.checkpoint;
      expect(await readyOf(head)).toEqual([]);
      world.clock.time += 1_000;
      // A worker commits a line behind the merge and one before it.
      const [first, , last] = ranges;
      if (invocations === 1 && first && last) {
        await commitSegments(world, head, first, [[1]]);
        await commitSegments(world, head, last, [[299]]);
      }
    }
    expect(invocations).toBeGreaterThan(3);
    const { ready, output, errors } = await newest(head);
    const even = Array.from({ length: 150 }, (_, index) => 2 * index + 2).filter((line) => (line - 1) % 7 !== 3);
    expect(output).toBe(goodLines(head, ...[...even, 299].sort((a, b) => a - b)));
    expect(errors.split('\n')).toHaveLength(kinds.filter((kind) => kind === 'bad').length + 1);
    expect(ready?.asOf).toBe(begun);
    expect(await world.files.info(objectKeys.snapshotCheckpoint(head, 1))).toBeUndefined();
  });

  test('begins anew where its checkpoint, or the uploads that it names, are gone', async () => {
    const { head, ranges } = await layDown(world, await createTestBatch(world), lines(20), 20);
    for (const range of ranges) await commitSegments(world, head, range, [runnableLines(range, lines(20))]);
    await world.snapshots.take(head.batchId, 0, world.clock.now());
    let looks = 0;
    const short = { remainingMs: () => (looks++ < 8 ? 1_000 : 0) };
    const { checkpoint } = await snapshotBatch(world, step(head, 1), short);
    if (checkpoint === undefined) throw new Error('It was too long for one invocation');
    await world.files.delete([checkpoint]);
    await snapshotBatch(world, step(head, 1, checkpoint), PLENTY);
    expect((await newest(head)).output.split('\n')).toHaveLength(21);
  });
});

describe('snapshots beside the end of the batch', () => {
  test('none is made of a batch that has ended, and what was begun is taken back', async () => {
    const { head, ranges } = await layDown(world, await createTestBatch(world), lines(20), 20);
    for (const range of ranges) await commitSegments(world, head, range, [runnableLines(range, lines(20))]);
    await world.snapshots.take(head.batchId, 0, world.clock.now());
    let looks = 0;
    const short = { remainingMs: () => (looks++ < 8 ? 1_000 : 0) };
    const { checkpoint, next } = await snapshotBatch(world, step(head, 1), short);
    expect(next).toBe('snapshot');
    await finalize(head);
    expect(await snapshotBatch(world, step(head, 1, checkpoint), PLENTY)).toEqual({ ...step(head, 1), next: 'end' });
    expect(await readyOf(head)).toEqual([]);
    expect(await world.files.info(objectKeys.snapshot(head, 1, 'output'))).toBeUndefined();
    expect(await world.files.info(objectKeys.snapshotCheckpoint(head, 1))).toBeUndefined();
  });

  test.each(['a segment', 'the bad lines'])('one whose batch ends while it reads ends quietly: %s', async (which) => {
    const kinds: TestLine[] = [...lines(4), 'bad'];
    const { head, ranges } = await layDown(world, await createTestBatch(world), kinds, 5);
    for (const range of ranges) await commitSegments(world, head, range, [runnableLines(range, kinds)]);
    await world.snapshots.take(head.batchId, 0, world.clock.now());
    const key = which === 'a segment' ? objectKeys.segment(head, 0, 1, 0, 'n') : objectKeys.invalid(head, 1);
    const files: typeof world.files = Object.assign(Object.create(world.files), {
      read: async (...args: Parameters<typeof world.files.read>) => {
        // The end comes between the look at the batch and the first read of its parts.
        if (args[0] === key) await finalize(head);
        return world.files.read(...args);
      },
    });
    expect(await snapshotBatch({ ...world, files }, step(head, 1), PLENTY)).toMatchObject({ next: 'end' });
    expect(await readyOf(head)).toEqual([]);
  });

  test('a part that is missing while the batch runs leaves out its lines; without the bad lines there is none', async () => {
    const kinds: TestLine[] = [...lines(4), 'bad'];
    const { head, ranges } = await layDown(world, await createTestBatch(world), kinds, 5);
    const [range] = ranges;
    if (!range) throw new Error('one shard');
    const [lost = ''] = await commitSegments(world, head, range, [[1, 3], [2]]);
    await world.files.delete([lost]);
    await take(head, 1);
    expect((await newest(head)).output).toBe(goodLines(head, 2));
    await world.files.delete([objectKeys.invalid(head, 1)]);
    await world.snapshots.take(head.batchId, 1, world.clock.now());
    await expect(snapshotBatch(world, step(head, 2), PLENTY)).rejects.toBeInstanceOf(FileMissing);
  });
});

describe('old snapshots', () => {
  test('are deleted by later ones once no URL to them is alive, the newest never', async () => {
    const { head, ranges } = await layDown(world, await createTestBatch(world), lines(3), 3);
    const [range] = ranges;
    if (!range) throw new Error('one shard');
    await commitSegments(world, head, range, [[1]]);
    await take(head, 1);
    world.clock.time += 60_000;
    await take(head, 2);
    world.clock.time += 15 * 60_000;
    await take(head, 3);
    expect((await readyOf(head)).map(({ snapshot }) => snapshot)).toEqual([1, 2, 3]);
    world.clock.time += 60_000;
    await take(head, 4);
    expect((await readyOf(head)).map(({ snapshot }) => snapshot)).toEqual([2, 3, 4]);
    const isThere = async (snapshot: number) =>
      (await world.files.info(objectKeys.snapshot(head, snapshot, 'output'))) !== undefined;
    expect(await Promise.all([1, 2, 3, 4].map(isThere))).toEqual([false, true, true, true]);
  });
});
