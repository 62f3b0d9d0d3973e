import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../../shared/domain/batch.ts';
import { LineIndexWriter, readLineIndex } from '../../../shared/domain/lines/lineIndex.ts';
import { objectKeys } from '../../../shared/domain/objectKeys.ts';
import { finalizeBatch } from '../../../shared/usecases/finalizeBatch.ts';
import { snapshotBatch } from '../../../shared/usecases/snapshotBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../../support/batchWorld.ts';
import {
  badLine,
  commitSegments,
  failedLine,
  goodLine,
  layDown,
  readText,
  runnableLines,
  type TestLine,
} from '../../support/runBatch.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld();
});
afterAll(() => world.close());

const PLENTY = { remainingMs: () => 900_000 };
/** `kept`: completed by the first batch. The others failed there, and are run again or are bad again. */
type Kind = TestLine | 'kept';

/** The files that a first batch has left, and a retry of it with `merge` that has run its lines; every fifth failed. */
async function retried(kinds: Kind[], shardLines: number) {
  const first = await createTestBatch(world);
  const index = new LineIndexWriter();
  const output: string[] = [];
  for (const [at, kind] of kinds.entries()) {
    if (kind === 'blank') continue;
    index.add(at + 1, kind === 'kept' ? 'o' : 'e');
    if (kind === 'kept') output.push(`${goodLine(first, at + 1)}\n`);
  }
  const lines = { key: objectKeys.lineIndex(first, 1), bytes: index.bytes.length };
  const outputFile = { key: objectKeys.output(first, 1), bytes: Buffer.byteLength(output.join('')) };
  await world.files.put(lines.key, index.bytes);
  await world.files.put(outputFile.key, output.join(''));

  const retry = { merge: true, lines, ...(output.length > 0 ? { output: outputFile } : {}) };
  const created = await createTestBatch(world, { retryOf: first.batchId, retry });
  const own = kinds.map((kind): TestLine => (kind === 'kept' ? 'blank' : kind));
  const { head, ranges } = await layDown(world, created, own, shardLines, output.length);
  for (const range of ranges)
    await commitSegments(world, head, range, [runnableLines(range, own)], { failed: (line) => line % 5 === 0 });
  return { first, head, lines, outputFile };
}

const step = ({ projectId, batchId, attempt }: BatchHead, checkpoint?: string) => ({
  version: 1 as const,
  projectId,
  batchId,
  attempt,
  ...(checkpoint === undefined ? {} : { checkpoint }),
});

/** Invocations that end after so many looks at the time. */
async function finalizeInPieces(head: BatchHead, looksEach: number): Promise<number> {
  let checkpoint: string | undefined;
  for (let invocations = 1; ; invocations++) {
    let looks = 0;
    const invocation = { remainingMs: () => (looks++ < looksEach ? 1_000 : 0) };
    const answer = await finalizeBatch(world, step(head, checkpoint), invocation);
    if (answer.next === 'end') return invocations;
    checkpoint = answer.checkpoint;
  }
}

async function results(head: BatchHead) {
  const ended = await headOf(world, head);
  // A batch of nothing but blank lines has no files, and no index of them.
  const { lineIndex } = ended;
  const index = lineIndex && (await world.files.readSmall(lineIndex.key, lineIndex.bytes));
  return {
    ended,
    output: (await readText(world, ended.outputFile?.key)).split('\n').slice(0, -1),
    errors: (await readText(world, ended.errorsFile?.key)).split('\n').slice(0, -1),
    index: index ? [...readLineIndex(index)] : [],
  };
}

/** What the files of such a retry hold, and the index of them. */
function expected(head: BatchHead, kinds: Kind[], { withKept = true } = {}) {
  const output: string[] = [];
  const errors: string[] = [];
  const index: { line: number; file: 'o' | 'e' }[] = [];
  for (const [at, kind] of kinds.entries()) {
    const line = at + 1;
    if (kind === 'blank' || (kind === 'kept' && !withKept)) continue;
    const failed = kind === 'bad' || (kind === 'runnable' && line % 5 === 0);
    if (kind === 'bad') errors.push(badLine(head, line));
    else if (failed) errors.push(failedLine(head, line));
    else output.push(goodLine(head, line));
    index.push({ line, file: failed ? 'e' : 'o' });
  }
  return { output, errors, index };
}

const mixed: Kind[] = Array.from({ length: 120 }, (_, at) =>
  at % 11 === 4 ? 'bad' : at % 17 === 2 ? 'blank' : at % 3 === 0 ? 'runnable' : 'kept',
);

describe('finalizing a retry with merge', () => {
  test('puts what it keeps between its own lines, under its own id, and counts both', async () => {
    const { head } = await retried(mixed, 50);
    await finalizeBatch(world, step(head), PLENTY);
    const { ended, ...got } = await results(head);
    const want = expected(head, mixed);
    expect(got).toEqual(want);
    const kept = mixed.filter((kind) => kind === 'kept').length;
    const ran = mixed.filter((kind) => kind === 'runnable').length;
    expect(ended).toMatchObject({
      status: 'completed',
      requestCounts: {
        total: want.output.length + want.errors.length,
        completed: want.output.length,
        failed: want.errors.length,
      },
      usage: { inputTokens: ran, outputTokens: 2 * ran },
      plan: { kept },
    });
    expect((await world.batches.getDetail(head.batchId))?.receipt).toMatchObject({
      lines: want.output.length + want.errors.length,
      completed: want.output.length,
    });
  });

  test('gives the same bytes in any invocations, whatever the lines are', async () => {
    const kind = fc.constantFrom<Kind>('kept', 'kept', 'kept', 'runnable', 'bad', 'blank');
    const arbitrary = fc.record({
      kinds: fc.array(kind, { minLength: 1, maxLength: 60 }),
      shardLines: fc.integer({ min: 1, max: 30 }),
      looksEach: fc.integer({ min: 2, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(arbitrary, async ({ kinds, shardLines, looksEach }) => {
        const { head } = await retried(kinds, shardLines);
        await finalizeInPieces(head, looksEach);
        const { ended, ...got } = await results(head);
        const want = expected(head, kinds);
        expect(got).toEqual(want);
        expect(ended.requestCounts.total).toBe(want.index.length);
      }),
      { numRuns: 20 },
    );
  });

  test('goes on in the middle of what it keeps, over parts of the upload', async () => {
    const kinds: Kind[] = [...Array.from({ length: 40 }, (): Kind => 'kept'), 'runnable'];
    const { first, head, outputFile } = await retried(kinds, 50);
    const pad = 'x'.repeat(300_000);
    const line = ({ batchId }: BatchHead, at: number) => `{"id":"${batchId}_${at}","custom_id":"${at}","pad":"${pad}"}`;
    const body = Array.from({ length: 40 }, (_, at) => `${line(first, at)}\n`).join('');
    await world.files.put(outputFile.key, body);
    const retry = {
      ...head.retry,
      merge: true,
      lines: head.retry?.lines ?? outputFile,
      output: { ...outputFile, bytes: body.length },
    };
    const batches = {
      ...world.batches,
      get: async (ref: BatchHead) => ({ ...(await headOf(world, ref)), retry }),
    };
    let checkpoint: string | undefined;
    let invocations = 0;
    for (let next = ''; next !== 'end'; invocations++) {
      let looks = 0;
      const invocation = { remainingMs: () => (looks++ < 12 ? 1_000 : 0) };
      const answer = await finalizeBatch(
        { ...world, batches: batches as BatchWorld['batches'] },
        step(head, checkpoint),
        invocation,
      );
      checkpoint = answer.checkpoint;
      next = answer.next;
    }
    expect(invocations).toBeGreaterThan(2);
    const { output } = await results(head);
    expect(output.slice(0, 40)).toEqual(Array.from({ length: 40 }, (_, at) => line(head, at)));
  });
});

test('a snapshot of a retry with merge holds what it keeps as well', async () => {
  const { head } = await retried(mixed, 50);
  const { projectId, batchId } = head;
  await world.snapshots.take(batchId, 0, world.clock.now());
  await snapshotBatch(world, { version: 1, projectId, batchId, snapshot: 1 }, PLENTY);
  const snapshot = (await world.snapshots.get(batchId))?.ready[0];
  const want = expected(head, mixed);
  expect(await readText(world, snapshot?.output?.key)).toBe(want.output.map((line) => `${line}\n`).join(''));
  expect(await readText(world, snapshot?.errors?.key)).toBe(want.errors.map((line) => `${line}\n`).join(''));
});

describe('finalizing a retry whose first results have been deleted', () => {
  test.each(['output', 'index'] as const)('fails with that reason and keeps its own results: the %s', async (gone) => {
    const { first, head, lines, outputFile } = await retried(mixed, 50);
    await world.files.delete([gone === 'output' ? outputFile.key : lines.key]);
    await finalizeBatch(world, step(head), PLENTY);
    const { ended, ...got } = await results(head);
    const want = expected(head, mixed, { withKept: false });
    expect(got).toEqual(want);
    expect(ended).toMatchObject({ status: 'failed', requestCounts: { total: want.index.length } });
    expect((await world.batches.getDetail(head.batchId))?.errors[0]).toMatchObject({
      code: 'processing_failed',
      line: null,
      message: expect.stringContaining(first.batchId),
    });
  });

  test('while they were copied: the next attempt ends it so', async () => {
    const { head, outputFile } = await retried(mixed, 50);
    let looks = 0;
    const invocation = { remainingMs: () => (looks++ < 20 ? 1_000 : 0) };
    const { next, checkpoint } = await finalizeBatch(world, step(head), invocation);
    expect(next).toBe('finalize');
    await world.files.delete([outputFile.key]);
    await expect(finalizeBatch(world, step(head, checkpoint), PLENTY)).rejects.toMatchObject({ name: 'FileMissing' });

    await world.batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
    await finalizeBatch(world, { ...step(head), attempt: 2 }, PLENTY);
    const { ended, ...got } = await results(head);
    expect(ended.status).toBe('failed');
    expect(got).toEqual(expected(head, mixed, { withKept: false }));
  });

  test('stays cancelled where it was', async () => {
    const { head, outputFile } = await retried(['kept', 'runnable'], 5);
    await world.files.delete([outputFile.key]);
    await world.batches.move(head, 'cancelling', { now: world.clock.now() });
    await finalizeBatch(world, step(head), PLENTY);
    const { ended, output } = await results(head);
    expect(ended).toMatchObject({ status: 'cancelled', requestCounts: { total: 1, completed: 1, failed: 0 } });
    expect(output).toEqual([goodLine(head, 2)]);
  });

  test('or are not those of the batch that it repeats: throws, and writes nothing', async () => {
    const { head, outputFile } = await retried(['kept', 'runnable'], 5);
    const stranger = await createTestBatch(world);
    await world.files.put(outputFile.key, `${goodLine(stranger, 1)}\n`);
    await expect(finalizeBatch(world, step(head), PLENTY)).rejects.toMatchObject({ name: 'ResultsInconsistent' });
    expect((await headOf(world, head)).outputFile).toBeUndefined();
  });
});
