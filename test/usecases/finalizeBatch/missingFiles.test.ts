import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../../shared/domain/batch.ts';
import { objectKeys } from '../../../shared/domain/objectKeys.ts';
import { failBatch } from '../../../shared/usecases/failBatch.ts';
import { finalizeBatch } from '../../../shared/usecases/finalizeBatch.ts';
import { planShards } from '../../../shared/usecases/planShards.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../../support/batchWorld.ts';
import { badLine, commitSegments, goodLine, layDown, readText, type TestLine } from '../../support/runBatch.ts';
import { testModels } from '../../support/shardWorld.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld();
});
afterAll(() => world.close());

const models = testModels({ kind: 'simulator' });
const PLENTY = { remainingMs: () => 900_000 };
const step = ({ projectId, batchId, attempt }: BatchHead) => ({ version: 1, projectId, batchId, attempt }) as const;
const KINDS: TestLine[] = ['runnable', 'runnable', 'bad', 'blank', 'runnable', 'runnable', 'runnable', 'bad'];

/** Lines 1, 2, 5, 6 and 7 run, in shards of two lines; those of `done` have a result. */
async function ran(done: number[]): Promise<BatchHead> {
  const { head, ranges } = await layDown(world, await createTestBatch(world), KINDS, 2);
  for (const range of ranges) {
    const own = done.filter((line) => line >= range.firstLine && line < range.firstLine + range.lines);
    if (own.length > 0) await commitSegments(world, head, range, [own]);
  }
  return head;
}

/** Plan finds the fault, Fail decides, Finalize gathers, as the machine has it. */
async function planThenEnd(head: BatchHead): Promise<BatchHead> {
  const error = await planShards({ ...world, models }, { ...step(head), round: 0 }).catch((thrown: unknown) => thrown);
  if (error instanceof Error)
    expect(await failBatch(world, { ...step(head), error: { Error: error.name } })).toMatchObject({ next: 'finalize' });
  return end(head);
}

async function end(head: BatchHead, remainingMs = () => 900_000): Promise<BatchHead> {
  let input: Parameters<typeof finalizeBatch>[1] = { ...step(head), settled: true };
  for (;;) {
    const answer = await finalizeBatch(world, input, { remainingMs });
    if (answer.next === 'end') return headOf(world, head);
    input = { ...step(head), settled: true, checkpoint: answer.checkpoint };
  }
}

async function filesOf(head: BatchHead) {
  const lines = async (key: string | undefined) => (await readText(world, key)).split('\n').filter(Boolean);
  const errors = (await lines(head.errorsFile?.key)).map(
    (line) => JSON.parse(line) as { line: number; custom_id: string | null; error: { code: string } },
  );
  return {
    output: await lines(head.outputFile?.key),
    errors: errors.map(({ line, custom_id, error }) => [line, custom_id, error.code]),
  };
}

describe('a batch whose plan is gone', () => {
  test('ends as failed with what was kept, and each other line is accounted for by the input', async () => {
    const head = await ran([2, 6]);
    await world.files.delete([head.plan?.key ?? '']);
    const ended = await planThenEnd(head);
    expect(ended).toMatchObject({ status: 'failed', requestCounts: { total: 7, completed: 2, failed: 5 } });
    const { output, errors } = await filesOf(ended);
    expect(output).toEqual([goodLine(head, 2), goodLine(head, 6)]);
    expect(errors).toEqual([
      [1, 'request-1 ü', 'batch_failed'],
      [3, null, 'invalid_line'],
      [5, 'request-5 ü', 'batch_failed'],
      [7, 'request-7 ü', 'batch_failed'],
      [8, null, 'invalid_line'],
    ]);
    expect(await world.batches.getDetail(head.batchId)).toMatchObject({
      errors: [
        { line: null, code: 'processing_failed', message: 'A file that the batch needs is gone.' },
        {},
        {},
        {},
        {},
        {},
      ],
      receipt: { lines: 7, completed: 2, failed: 5 },
    });
    for await (const record of world.shards.list(head.batchId)) expect(record.sealed).toBe(true);
  });

  test('and whose lines are all done is completed as if nothing had happened', async () => {
    const head = await ran([1, 2, 5, 6, 7]);
    await world.files.delete([head.plan?.key ?? '']);
    const ended = await end(head);
    expect(ended).toMatchObject({ status: 'completed', requestCounts: { completed: 5, failed: 2 } });
    const { output } = await filesOf(ended);
    expect(output).toEqual([1, 2, 5, 6, 7].map((line) => goodLine(head, line)));
  });

  test('and whose input is gone too ends with the results that there are', async () => {
    const head = await ran([2, 6]);
    await world.files.delete([head.plan?.key ?? '', head.input?.key ?? '']);
    const ended = await planThenEnd(head);
    expect(ended).toMatchObject({ status: 'failed', requestCounts: { total: 7, completed: 2, failed: 2 } });
    expect((await filesOf(ended)).output).toEqual([goodLine(head, 2), goodLine(head, 6)]);
  });

  test('is gathered in as many invocations as it takes, with the same bytes', async () => {
    const head = await ran([1, 2, 5, 6, 7]);
    await world.files.delete([head.plan?.key ?? '']);
    let asked = 0;
    // Time is up at every second look.
    const ended = await end(head, () => (asked++ % 3 === 2 ? 0 : 100_000));
    expect(ended.status).toBe('completed');
    expect((await filesOf(ended)).output).toEqual([1, 2, 5, 6, 7].map((line) => goodLine(head, line)));
    expect((await filesOf(ended)).errors.map(([line]) => line)).toEqual([3, 8]);
  });

  test('and a part as well loses that part’s lines alone, and says so', async () => {
    const { head, ranges } = await layDown(world, await createTestBatch(world), Array(4).fill('runnable'), 2);
    const keys: string[] = [];
    for (const range of ranges)
      keys.push(...(await commitSegments(world, head, range, [[range.firstLine, range.firstLine + 1]])));
    await world.files.delete([head.plan?.key ?? '', keys[0] ?? '']);
    const ended = await end(head);
    expect(ended).toMatchObject({ status: 'completed', requestCounts: { total: 4, completed: 2, failed: 2 } });
    expect((await filesOf(ended)).errors).toEqual([
      [1, 'request-1 ü', 'processing_failed'],
      [2, 'request-2 ü', 'processing_failed'],
    ]);
  });
});

describe('a batch whose segment of bad lines is gone', () => {
  test('ends all the same: they are named, though not why they were bad', async () => {
    const head = await ran([1, 2, 5, 6, 7]);
    await world.files.delete([head.plan?.invalid?.key ?? '']);
    const ended = await end(head);
    expect(ended).toMatchObject({ status: 'completed', requestCounts: { total: 7, completed: 5, failed: 2 } });
    expect((await filesOf(ended)).errors).toEqual([
      [3, null, 'processing_failed'],
      [8, null, 'processing_failed'],
    ]);
    expect(badLine(head, 3)).toContain('invalid_line');
  });

  test('and whose validation failed ends without files', async () => {
    const { head, plan } = await layDown(world, await createTestBatch(world), ['bad', 'bad'], 2);
    const created = await createTestBatch(world);
    await world.batches.setInput(created, 1, head.input ?? { key: '', bytes: 0, etag: '' });
    await world.batches.setPlan(created, 1, { ...plan, shards: 0, runnable: 3, lines: 5 });
    await world.batches.fixOutcome(created, { kind: 'failed', reason: 'invalid_input', message: 'Bad.', fixedAt: 1 });
    await world.files.delete([plan.invalid?.key ?? '']);
    const ended = await end(created);
    expect(ended.status).toBe('failed');
    expect(ended).not.toHaveProperty('errorsFile');
  });
});

describe('a batch whose input is gone, or another one, while it runs', () => {
  test.each([
    ['gone', 'A file that the batch needs is gone.'],
    ['replaced', 'The input file was changed after the batch was created.'],
  ])('%s: ends with what was kept at the next planning', async (what, message) => {
    const head = await ran([2]);
    const key = head.input?.key ?? '';
    await (what === 'gone' ? world.files.delete([key]) : world.files.put(key, 'something else'));
    const ended = await planThenEnd(head);
    expect(ended).toMatchObject({
      status: 'failed',
      outcome: { message },
      requestCounts: { total: 7, completed: 1, failed: 6 },
    });
    expect(await readText(world, ended.outputFile?.key)).toBe(`${goodLine(head, 2)}\n`);
    expect((await filesOf(ended)).errors.map(([line]) => line)).toEqual([1, 3, 5, 6, 7, 8]);
  });
});

test('gatherings that died leave no files beside those of the one that ended the batch', async () => {
  const head = await ran([1, 2, 5, 6, 7]);
  const dies = { ...world.batches, move: () => Promise.reject(new Error('The process died')) };
  await world.batches.move(head, 'finalizing', { now: world.clock.now() });
  await expect(finalizeBatch({ ...world, batches: dies }, step(head), PLENTY)).rejects.toThrow('died');
  expect(await world.files.info(objectKeys.output(head, 1))).toBeDefined();
  const ended = await end(head);
  expect(ended.outputFile?.key).toBe(objectKeys.output(head, 2));
  for (const of of [objectKeys.output, objectKeys.errors, objectKeys.lineIndex])
    expect(await world.files.info(of(head, 1))).toBeUndefined();
});
