import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BatchHead } from '../../../shared/domain/batch.ts';
import { LineIndexWriter } from '../../../shared/domain/lines/lineIndex.ts';
import { objectKeys } from '../../../shared/domain/objectKeys.ts';
import { initialBitmap, isBitSet, type ShardRange } from '../../../shared/domain/shard.ts';
import { validateInput } from '../../../shared/usecases/validateInput.ts';
import { type InputSteps, startInputSteps } from '../../support/inputSteps.ts';

let steps: InputSteps;
beforeAll(async () => {
  steps = await startInputSteps();
});
afterAll(() => steps.close());

const FIRST = 'batch_01J9ZQ3V6B8R4M2N7K5T1W0XYZ';
const request = (id: unknown) =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/agents/a/invoke', body: { input: 'x' } });

/** A retry of a batch whose files had these lines; `files[n]` is where line n + 1 was, a blank where it was in none. */
async function retryOf(lines: string[], files: string, fields: Partial<BatchHead> & { merge?: boolean } = {}) {
  const { merge = false, ...head } = fields;
  const index = new LineIndexWriter();
  for (const [at, file] of [...files].entries()) if (file === 'o' || file === 'e') index.add(at + 1, file);
  const ref = { projectId: 'p', batchId: FIRST };
  const lineIndex = { key: objectKeys.lineIndex(ref, 1), bytes: index.bytes.length };
  await steps.deps.files.put(lineIndex.key, index.bytes);
  const output = { key: objectKeys.output(ref, 1), bytes: 100 };
  return steps.createFetched(lines.join('\n'), {
    onInvalidLine: 'skip',
    retryOf: FIRST,
    retry: { merge, lines: lineIndex, ...(merge ? { output } : {}) },
    ...head,
  });
}

async function validate({ projectId, batchId }: BatchHead): Promise<string> {
  const run = { version: 1 as const, projectId, batchId, attempt: 1 };
  return (await validateInput(steps.deps, run, { remainingMs: () => 900_000 })).next;
}

function linesToRun(shards: ShardRange[]): number[] {
  return shards.flatMap((shard) => {
    const skip = initialBitmap(shard);
    return Array.from({ length: shard.lines }, (_, at) => at)
      .filter((at) => !isBitSet(skip, at))
      .map((at) => shard.firstLine + at);
  });
}

test('a retry plans the failed lines alone, by the numbers that they have in the input', async () => {
  const lines = Array.from({ length: 12 }, (_, at) => request(`r${at + 1}`));
  lines.splice(3, 0, '', '   ');
  const head = await retryOf(lines, 'ooe  eooooeooe');
  expect(await validate(head)).toBe('plan');
  expect(linesToRun(await steps.shards(head))).toEqual([3, 6, 11, 14]);
  const after = await steps.head(head);
  const text = lines.join('\n');
  expect(after).toMatchObject({
    status: 'in_progress',
    requestCounts: { total: 4, completed: 0, failed: 0 },
    plan: {
      lines: 4,
      runnable: 4,
      input: { bytes: text.length, sha256: createHash('sha256').update(text).digest('hex') },
    },
  });
  expect(after.plan).not.toHaveProperty('kept');
});

test('with merge it counts what it keeps from the start', async () => {
  const lines = Array.from({ length: 5 }, (_, at) => request(`r${at + 1}`));
  const head = await retryOf(lines, 'oeooe', { merge: true });
  expect(await validate(head)).toBe('plan');
  expect(await steps.head(head)).toMatchObject({
    requestCounts: { total: 5, completed: 3, failed: 0 },
    plan: { lines: 2, runnable: 2, kept: 3 },
  });
});

test('a duplicate of a line that is left out is one again, and so is one of a line that is repeated', async () => {
  const lines = [request('a'), request('b'), request('a'), request('b'), '[]', request('c')];
  const head = await retryOf(lines, 'oeeeeo', { merge: true });
  expect(await validate(head)).toBe('plan');
  expect(linesToRun(await steps.shards(head))).toEqual([2]);
  expect((await steps.invalidLines(head)).map(({ line, error }) => [line, error.code])).toEqual([
    [3, 'duplicate_custom_id'],
    [4, 'duplicate_custom_id'],
    [5, 'invalid_line'],
  ]);
  expect((await steps.detail(head)).errors[0]?.message).toContain('line 1 has it, too');
  expect(await steps.head(head)).toMatchObject({
    requestCounts: { total: 6, completed: 2, failed: 3 },
    plan: { lines: 4, runnable: 1, kept: 2, invalid: { lines: 3 } },
  });
});

test('lines of a batch that had none run are not its business: they are in no file', async () => {
  const head = await retryOf([request('a'), '[]', request('b')], ' e ', { onInvalidLine: 'fail', merge: true });
  expect(await validate(head)).toBe('finalize');
  const after = await steps.head(head);
  expect(after).toMatchObject({
    outcome: { kind: 'failed', message: '1 of 1 lines of the input are not valid; nothing was run.' },
    requestCounts: { total: 1, completed: 0, failed: 1 },
    plan: { shards: 0, lines: 1, runnable: 0, invalid: { lines: 1 } },
  });
  expect(after.plan).not.toHaveProperty('kept');
});

test('where the index has been deleted the batch fails with the reason, and is not tried for ever', async () => {
  const head = await retryOf([request('a')], 'e');
  await steps.deps.files.delete([head.retry?.lines.key ?? '']);
  expect(await validate(head)).toBe('finalize');
  expect(await steps.head(head)).toMatchObject({ outcome: { kind: 'failed', reason: 'input_file_changed' } });
  expect((await steps.detail(head)).errors).toMatchObject([
    { code: 'input_file_changed', line: null, message: expect.stringContaining(`The files of ${FIRST}`) },
  ]);
});

test('an index that does not fit the input is refused', async () => {
  const head = await retryOf([request('a')], 'ee');
  await expect(validate(head)).rejects.toThrow('1 of the 2 lines');
});
