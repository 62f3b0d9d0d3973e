import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { encodeSegment, segmentEntry } from '../../shared/domain/lines/segment.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';
import {
  badLine,
  commitSegments,
  customId,
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
const step = (head: BatchHead, checkpoint?: string) => ({
  version: 1 as const,
  projectId: head.projectId,
  batchId: head.batchId,
  attempt: head.attempt,
  ...(checkpoint === undefined ? {} : { checkpoint }),
});
const finalize = (head: BatchHead) => finalizeBatch(world, step(head), PLENTY);
const lines = (count: number, kind: TestLine = 'runnable') => Array<TestLine>(count).fill(kind);
const results = async (head: BatchHead) => {
  const ended = await headOf(world, head);
  return {
    ended,
    output: await readText(world, ended.outputFile?.key),
    errors: await readText(world, ended.errorsFile?.key),
  };
};
const parsed = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** A batch whose lines are all done but those that `holes` names. */
async function ran(kinds: TestLine[], shardLines: number, holes: (line: number) => boolean = () => false) {
  const created = await createTestBatch(world);
  const { head, ranges, plan } = await layDown(world, created, kinds, shardLines);
  for (const range of ranges) {
    const done = runnableLines(range, kinds).filter((line) => !holes(line));
    if (done.length > 0) await commitSegments(world, head, range, [done], { failed: (line) => line % 5 === 0 });
  }
  return { head, ranges, plan };
}

describe('finalizing a batch whose lines are all done', () => {
  test('writes both files in line order, the receipt, the counts and the first errors, and ends it as completed', async () => {
    const kinds: TestLine[] = [...lines(7), 'blank', 'bad', ...lines(6)];
    const { head } = await ran(kinds, 6);
    expect(await finalize(head)).toEqual({ ...step(head), next: 'end' });

    const { ended, output, errors } = await results(head);
    const good = [1, 2, 3, 4, 6, 7, 11, 12, 13, 14].map((line) => `${goodLine(head, line)}\n`).join('');
    const bad = `${failedLine(head, 5)}\n${badLine(head, 9)}\n${failedLine(head, 10)}\n${failedLine(head, 15)}\n`;
    expect(output).toBe(good);
    expect(errors).toBe(bad);
    expect(ended).toMatchObject({
      status: 'completed',
      outcome: { kind: 'completed', reason: 'all_done' },
      requestCounts: { total: 14, completed: 10, failed: 4 },
      usage: { inputTokens: 13, outputTokens: 26 },
      outputFile: { bytes: Buffer.byteLength(good) },
      errorsFile: { bytes: Buffer.byteLength(bad) },
      filesExpireAt: world.clock.now() + 30 * 86_400_000,
      notification: 1,
    });
    const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
    expect(await world.batches.getDetail(head.batchId)).toMatchObject({
      errors: [
        { code: 'model_error', line: 5, message: 'No 5', param: null },
        { code: 'invalid_line', line: 9, message: 'Not an object', param: null },
        { code: 'model_error', line: 10 },
        { code: 'model_error', line: 15 },
      ],
      receipt: {
        lines: 14,
        completed: 10,
        failed: 4,
        input: { sha256: 'input-sha' },
        output: { bytes: Buffer.byteLength(good), sha256: sha256(good) },
        errors: { bytes: Buffer.byteLength(bad), sha256: sha256(bad) },
      },
    });
    expect(world.workflow.executions.get(`${head.batchId}-notify-1`)).toBe('running');
    expect(await world.files.info(objectKeys.invalid(head, 1))).toBeUndefined();
  });

  test('makes no file where there is no line for it', async () => {
    const { head } = await ran(lines(3), 3);
    await finalize(head);
    const ended = await headOf(world, head);
    expect(ended.status).toBe('completed');
    expect(ended).not.toHaveProperty('errorsFile');
    expect((await world.batches.getDetail(head.batchId))?.receipt?.errors).toBeNull();
  });

  test('completes a batch that has no line to run with its bad lines alone', async () => {
    const { head } = await ran(lines(4, 'bad'), 2);
    await finalize(head);
    const { ended, output, errors } = await results(head);
    expect(ended).toMatchObject({ status: 'completed', requestCounts: { total: 4, completed: 0, failed: 4 } });
    expect(output).toBe('');
    expect(errors.split('\n')).toHaveLength(5);
  });

  test('is completed even when it is late', async () => {
    const { head } = await ran(lines(2), 2);
    world.clock.time += 2 * 86_400_000;
    await finalize(head);
    expect(await headOf(world, head)).toMatchObject({ status: 'completed' });
  });

  test('reads segments that were folded into manifests', async () => {
    const created = await createTestBatch(world);
    const { head, ranges } = await layDown(world, created, lines(9), 9);
    for (const range of ranges)
      await commitSegments(
        world,
        head,
        range,
        [
          [9, 1],
          [3, 4],
          [2, 5],
          [6, 7, 8],
        ],
        { foldAt: 1 },
      );
    await finalize(head);
    const { output } = await results(head);
    expect(output).toBe(Array.from({ length: 9 }, (_, index) => `${goodLine(head, index + 1)}\n`).join(''));
  });

  test('again changes nothing', async () => {
    const { head } = await ran(lines(3), 3);
    await finalize(head);
    const before = await results(head);
    expect(await finalize(head)).toMatchObject({ next: 'end' });
    expect(await results(head)).toEqual(before);
  });

  test('ends even where the notification cannot be started', async () => {
    const { head } = await ran(lines(1), 1);
    world.workflow.broken = true;
    await finalize(head);
    world.workflow.broken = false;
    expect(await headOf(world, head)).toMatchObject({ status: 'completed', notification: 1 });
  });
});

describe('finalizing a batch with lines that were not run', () => {
  test('gives each its reason and its custom_id after the deadline', async () => {
    const { head } = await ran(lines(8), 3, (line) => line === 2 || line > 5);
    world.clock.time = head.expiresAt;
    await finalize(head);
    const { ended, output, errors } = await results(head);
    expect(ended).toMatchObject({ status: 'expired', requestCounts: { total: 8, completed: 3, failed: 5 } });
    expect(output).toBe([1, 3, 4].map((line) => `${goodLine(head, line)}\n`).join(''));
    const notRun = (line: number) => ({
      id: `${head.batchId}_${customId(line)}`,
      custom_id: customId(line),
      line,
      response: null,
      error: { code: 'batch_expired', message: expect.any(String) },
      attempts: 0,
    });
    expect(parsed(errors)).toEqual([notRun(2), JSON.parse(failedLine(head, 5)), notRun(6), notRun(7), notRun(8)]);
    expect((await world.batches.getDetail(head.batchId))?.errors.map(({ code, line }) => [code, line])).toEqual([
      ['batch_expired', 2],
      ['model_error', 5],
      ['batch_expired', 6],
      ['batch_expired', 7],
      ['batch_expired', 8],
    ]);
  });

  test('seals the shards, so that no worker commits behind its back', async () => {
    const { head, ranges } = await ran(lines(4), 2, (line) => line > 2);
    const range = ranges[1];
    if (!range) throw new Error('There are two shards');
    const claimed = await world.shards.claim(head.batchId, range);
    if (claimed === 'sealed') throw new Error('It is not sealed yet');
    await world.controls.stop(head.batchId, 'expired');
    await finalize(head);
    expect(await world.shards.claim(head.batchId, range)).toBe('sealed');
    expect(await headOf(world, head)).toMatchObject({ status: 'expired' });
  });

  test('keeps what was paid for when it is cancelled', async () => {
    const { head } = await ran(lines(4), 2, (line) => line > 1);
    await world.batches.move(head, 'cancelling', { now: world.clock.now() });
    await world.controls.stop(head.batchId, 'cancelled');
    await finalize(head);
    const { ended, output, errors } = await results(head);
    expect(ended).toMatchObject({ status: 'cancelled', requestCounts: { total: 4, completed: 1, failed: 3 } });
    expect(output).toBe(`${goodLine(head, 1)}\n`);
    expect(errors.match(/"batch_cancelled"/g)).toHaveLength(3);
  });

  test('ends as failed where that outcome stands, and says how many attempts a line had', async () => {
    const created = await createTestBatch(world);
    const { head, ranges } = await layDown(world, created, lines(3), 3);
    for (const range of ranges) await commitSegments(world, head, range, [[2]], { attempts: { 0: 3 } });
    const message = 'The batch could not be processed.';
    await world.batches.fixOutcome(head, { kind: 'failed', reason: 'step_died', message, fixedAt: world.clock.now() });
    await finalizeBatch(world, { ...step(head), settled: true }, PLENTY);
    const { ended, errors } = await results(head);
    expect(ended.status).toBe('failed');
    expect(parsed(errors)).toMatchObject([
      { line: 1, custom_id: customId(1), response: null, error: { code: 'batch_failed' }, attempts: 3 },
      { line: 3, custom_id: customId(3), response: null, error: { code: 'batch_failed' }, attempts: 0 },
    ]);
    expect((await world.batches.getDetail(head.batchId))?.errors[0]).toEqual({
      code: 'processing_failed',
      line: null,
      message,
      param: null,
    });
  });

  test('refuses, and seals nothing, where there is no reason to end', async () => {
    const { head, ranges } = await ran(lines(2), 1, (line) => line === 2);
    await expect(finalize(head)).rejects.toMatchObject({ name: 'FinalizedTooEarly' });
    const range = ranges[1];
    if (!range) throw new Error('There are two shards');
    expect(await world.shards.claim(head.batchId, range)).not.toBe('sealed');
  });

  test('gives a line whose part is missing processing_failed, and loses no other', async () => {
    const created = await createTestBatch(world);
    const { head, ranges } = await layDown(world, created, lines(6), 6);
    for (const range of ranges) {
      const keys = await commitSegments(world, head, range, [
        [1, 4],
        [2, 3],
        [5, 6],
      ]);
      await world.files.delete(keys.slice(1, 2));
    }
    await finalize(head);
    const { ended, output, errors } = await results(head);
    expect(ended).toMatchObject({ status: 'completed', requestCounts: { total: 6, completed: 4, failed: 2 } });
    expect(output).toBe([1, 4, 5, 6].map((line) => `${goodLine(head, line)}\n`).join(''));
    expect(errors.match(/"processing_failed"/g)).toHaveLength(2);
  });

  test('names lines by their number where the input is gone', async () => {
    const { head } = await ran(lines(2), 2, (line) => line === 2);
    await world.files.delete([objectKeys.input(head, 1)]);
    world.clock.time = head.expiresAt;
    await finalize(head);
    const { errors } = await results(head);
    expect(JSON.parse(errors)).toMatchObject({ id: `${head.batchId}_line-2`, custom_id: null, line: 2 });
  });
});

describe('finalizing a batch that ended while validating', () => {
  test('leaves only its bad lines', async () => {
    const created = await createTestBatch(world);
    const invalid = objectKeys.invalid(created, 1);
    const body = `3 e ${badLine(created, 3)}\n`;
    await world.files.put(invalid, body);
    await world.batches.setPlan(created, 1, {
      key: objectKeys.plan(created, 1),
      shards: 0,
      lines: 5,
      runnable: 4,
      invalid: { key: invalid, bytes: Buffer.byteLength(body), lines: 1 },
      input: { bytes: 9, sha256: 'input-sha' },
    });
    await world.batches.setErrors(created.batchId, [
      { code: 'invalid_line', line: 3, message: 'Not an object', param: 'custom_id' },
    ]);
    await world.batches.fixOutcome(created, {
      kind: 'failed',
      reason: 'invalid_input',
      message: '1 of 5 lines is not valid.',
      fixedAt: world.clock.now(),
    });
    await finalize(created);
    const { ended, output, errors } = await results(created);
    expect(ended).toMatchObject({ status: 'failed', requestCounts: { total: 5, completed: 0, failed: 1 } });
    expect((await world.batches.getDetail(created.batchId))?.receipt).toMatchObject({ lines: 1, failed: 1 });
    expect(output).toBe('');
    expect(errors).toBe(`${badLine(created, 3)}\n`);
    expect((await world.batches.getDetail(created.batchId))?.errors).toEqual([
      { code: 'invalid_line', line: 3, message: 'Not an object', param: 'custom_id' },
    ]);
  });

  test('expires where the deadline comes between the plan of its bad lines and the outcome', async () => {
    const created = await createTestBatch(world);
    const invalid = objectKeys.invalid(created, 1);
    const body = `3 e ${badLine(created, 3)}\n`;
    await world.files.put(invalid, body);
    await world.batches.setPlan(created, 1, {
      key: objectKeys.plan(created, 1),
      shards: 0,
      lines: 5,
      runnable: 4,
      invalid: { key: invalid, bytes: Buffer.byteLength(body), lines: 1 },
      input: { bytes: 9, sha256: 'input-sha' },
    });
    world.clock.time = created.expiresAt;
    expect(await finalize(created)).toMatchObject({ next: 'end' });
    const { ended, errors } = await results(created);
    expect(ended).toMatchObject({
      status: 'expired',
      outcome: { kind: 'expired' },
      requestCounts: { total: 5, completed: 0, failed: 1 },
    });
    expect(errors).toBe(`${badLine(created, 3)}\n`);
  });

  test('leaves no file where the input could not be fetched, and keeps the reason', async () => {
    const created = await createTestBatch(world);
    const error = { code: 'input_file_unreachable', line: null, message: 'It answered 404.', param: 'input_file_url' };
    await world.batches.setErrors(created.batchId, [error]);
    await world.batches.fixOutcome(created, {
      kind: 'failed',
      reason: 'invalid_input',
      message: error.message,
      fixedAt: world.clock.now(),
    });
    await finalize(created);
    const ended = await headOf(world, created);
    expect(ended.status).toBe('failed');
    expect(ended).not.toHaveProperty('outputFile');
    expect(ended).not.toHaveProperty('errorsFile');
    expect(await world.batches.getDetail(created.batchId)).toMatchObject({
      errors: [error],
      receipt: { lines: 0, input: null, output: null, errors: null },
    });
  });

  test.each([
    ['cancelled', 'cancelled'],
    ['expired', 'expired'],
  ] as const)('ends as %s where that stopped it', async (reason, status) => {
    const created = await createTestBatch(world);
    await world.controls.stop(created.batchId, reason);
    await finalize(created);
    const ended = await headOf(world, created);
    expect(ended.status).toBe(status);
    expect(ended).not.toHaveProperty('errorsFile');
  });
});

describe('finalizing beside others', () => {
  test('does nothing for an attempt that is not the newest', async () => {
    const { head } = await ran(lines(1), 1);
    await world.batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
    expect(await finalize(head)).toMatchObject({ next: 'end' });
    expect(await headOf(world, head)).toMatchObject({ status: 'in_progress' });
  });

  test('an attempt that is overtaken while it works takes back its files, and the other ends the batch', async () => {
    const { head } = await ran(lines(6), 3);
    let overtaken = false;
    // Between the merge and the end another attempt is taken, which gathers and ends.
    const slow = {
      ...world,
      batches: {
        ...world.batches,
        async setReceipt(...args: Parameters<typeof world.batches.setReceipt>) {
          if (!overtaken) {
            overtaken = true;
            await world.batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
            await finalizeBatch(world, { ...step(head), attempt: 2 }, PLENTY);
          }
          return world.batches.setReceipt(...args);
        },
      },
    };
    expect(await finalizeBatch(slow, step(head), PLENTY)).toMatchObject({ next: 'end' });
    const ended = await headOf(world, head);
    expect(ended).toMatchObject({
      status: 'completed',
      outputFile: { key: objectKeys.output(head, 2) },
      lineIndex: { key: objectKeys.lineIndex(head, 2) },
    });
    expect(await world.files.info(objectKeys.output(head, 1))).toBeUndefined();
    expect(await world.files.info(objectKeys.lineIndex(head, 1))).toBeUndefined();
    expect(await readText(world, ended.outputFile?.key)).toContain(goodLine(head, 1));
  });

  test('failed lines that a late worker adds at the end do not get into its exact list', async () => {
    const { head } = await ran(lines(5), 5);
    const late = { code: 'model_error', line: 99, message: 'From the grave.', param: null };
    const addLate = () => world.batches.addErrors(head.batchId, [late]);
    const haunted = {
      ...world,
      batches: {
        ...world.batches,
        async setReceipt(...args: Parameters<typeof world.batches.setReceipt>) {
          await addLate();
          const set = await world.batches.setReceipt(...args);
          await addLate();
          return set;
        },
      },
    };
    await finalizeBatch(haunted, step(head), PLENTY);
    await addLate();
    expect((await world.batches.getDetail(head.batchId))?.errors.map(({ line }) => line)).toEqual([5]);
  });

  test('a cancel that comes while it gathers changes the end and nothing else', async () => {
    const { head } = await ran(lines(2), 2);
    const cancelled = {
      ...world,
      batches: {
        ...world.batches,
        async setReceipt(...args: Parameters<typeof world.batches.setReceipt>) {
          await world.batches.move(head, 'cancelling', { now: world.clock.now() });
          return world.batches.setReceipt(...args);
        },
      },
    };
    await finalizeBatch(cancelled, step(head), PLENTY);
    expect(await headOf(world, head)).toMatchObject({
      status: 'cancelled',
      requestCounts: { total: 2, completed: 2, failed: 0 },
    });
  });
});

describe('finalizing in invocations that are too short for it', () => {
  test('goes on from its checkpoint and gives the same bytes', async () => {
    const kinds: TestLine[] = Array.from({ length: 400 }, (_, index) =>
      index % 7 === 3 ? 'bad' : index % 11 === 0 ? 'blank' : 'runnable',
    );
    const whole = await ran(kinds, 150, (line) => line % 13 === 0);
    world.clock.time = whole.head.expiresAt;
    await finalize(whole.head);
    const expected = await results(whole.head);

    const pieces = await ran(kinds, 150, (line) => line % 13 === 0);
    world.clock.time = pieces.head.expiresAt;
    let checkpoint: string | undefined;
    let invocations = 0;
    for (;;) {
      // Time is looked at after each line.
      let looks = 0;
      const invocation = { remainingMs: () => (looks++ < 60 ? 1_000 : 0) };
      const answer = await finalizeBatch(world, step(pieces.head, checkpoint), invocation);
      invocations++;
      if (answer.next === 'end') break;
      checkpoint = answer.checkpoint;
      expect(checkpoint).toBe(objectKeys.checkpoint(pieces.head, 1, 'finalize'));
    }
    expect(invocations).toBeGreaterThan(4);
    const got = await results(pieces.head);
    const asWhole = (text: string) => text.replaceAll(pieces.head.batchId, whole.head.batchId);
    expect(asWhole(got.output)).toBe(expected.output);
    expect(asWhole(got.errors)).toBe(expected.errors);
    expect(got.ended.requestCounts).toEqual(expected.ended.requestCounts);
    expect(got.ended.usage).toEqual(expected.ended.usage);
    const detail = await world.batches.getDetail(pieces.head.batchId);
    expect(detail?.errors).toHaveLength(100);
    expect(detail?.errors).toEqual((await world.batches.getDetail(whole.head.batchId))?.errors);
    const sha256 = createHash('sha256').update(got.output).digest('hex');
    expect(detail?.receipt?.output).toEqual({ bytes: Buffer.byteLength(got.output), sha256 });
  });
});

describe('finalizing in more than one invocation', () => {
  test('the first leaves no upload, the second begins once more, the third goes on', async () => {
    const { head } = await ran(lines(100), 50);
    const opened: string[] = [];
    const aborted: string[] = [];
    const upload: typeof world.files.upload = async (key, options) => {
      opened.push(options?.resume ? 'resumed' : 'begun');
      const made = await world.files.upload(key, options);
      return {
        write: (chunk) => made.write(chunk),
        complete: () => made.complete(),
        suspend: () => made.suspend(),
        abort: async () => {
          aborted.push(key);
          await made.abort();
        },
      };
    };
    const watched = { ...world, files: { ...world.files, upload } };
    let checkpoint: string | undefined;
    for (let invocations = 0; invocations < 3; invocations++) {
      let looks = 0;
      const invocation = { remainingMs: () => (looks++ < 70 ? 1_000 : 0) };
      const answer = await finalizeBatch(watched, step(head, checkpoint), invocation);
      checkpoint = answer.checkpoint;
    }
    expect(checkpoint).toBeUndefined();
    expect(opened).toEqual(['begun', 'begun', 'begun', 'begun', 'resumed', 'resumed']);
    expect(aborted).toEqual([objectKeys.output(head, 1), objectKeys.errors(head, 1)]);
    const { output } = await results(head);
    const sha256 = createHash('sha256').update(output).digest('hex');
    expect((await world.batches.getDetail(head.batchId))?.receipt?.output).toMatchObject({ sha256 });
  });
});

describe('finalizing many shards of one line each', () => {
  test('looks at the time between them, and comes further with each invocation', async () => {
    const { head } = await ran(lines(12), 1);
    let checkpoint: string | undefined;
    let invocations = 0;
    for (;;) {
      let looks = 0;
      const invocation = { remainingMs: () => (looks++ < 4 ? 1_000 : 0) };
      const answer = await finalizeBatch(world, step(head, checkpoint), invocation);
      invocations++;
      if (answer.next === 'end') break;
      checkpoint = answer.checkpoint;
    }
    expect(invocations).toBeGreaterThan(2);
    expect(invocations).toBeLessThanOrEqual(13);
    const { ended, output, errors } = await results(head);
    expect(ended.requestCounts).toEqual({ total: 12, completed: 10, failed: 2 });
    const good = [1, 2, 3, 4, 6, 7, 8, 9, 11, 12].map((line) => `${goodLine(head, line)}\n`).join('');
    expect(output).toBe(good);
    expect(errors).toBe(`${failedLine(head, 5)}\n${failedLine(head, 10)}\n`);
  });
});

describe('finalizing results larger than a part of an upload', () => {
  test('holds what is written across invocations, parts, tails and all', async () => {
    const created = await createTestBatch(world);
    const { head, ranges } = await layDown(world, created, lines(24), 24);
    const pad = 'x'.repeat(1_000_000);
    const line = (number: number) => `{"line":${number},"pad":"${pad}"}`;
    for (const range of ranges) {
      const claimed = await world.shards.claim(head.batchId, range);
      if (claimed === 'sealed') throw new Error('It is not sealed yet');
      const odd = Array.from({ length: 12 }, (_, index) => 2 * index + 1);
      for (const [commits, group] of [odd, odd.map((number) => number + 1)].entries()) {
        const body = encodeSegment(group.map((number) => segmentEntry(number, 'o', line(number))));
        const key = objectKeys.segment(head, range.shard, claimed.epoch, commits, 'n');
        await world.files.put(key, body);
        const segment = { key, bytes: body.length, first: group[0] ?? 0, last: group.at(-1) ?? 0 };
        const done = new Uint8Array(3).fill(commits === 0 ? 0x55 : 0xff);
        const counts = { completed: 12, failed: 0, usage: { inputTokens: 0, outputTokens: 0 }, attempts: {} };
        await world.shards.commit(head.batchId, { shard: 0, epoch: claimed.epoch, commits, segment, done, ...counts });
      }
    }
    let checkpoint: string | undefined;
    let invocations = 0;
    for (;;) {
      let looks = 0;
      const invocation = { remainingMs: () => (looks++ < 8 ? 1_000 : 0) };
      const answer = await finalizeBatch(world, step(head, checkpoint), invocation);
      invocations++;
      if (answer.next === 'end') break;
      checkpoint = answer.checkpoint;
    }
    expect(invocations).toBeGreaterThan(2);
    const { ended, output } = await results(head);
    const expected = Array.from({ length: 24 }, (_, index) => `${line(index + 1)}\n`).join('');
    expect(output === expected).toBe(true);
    expect(ended).not.toHaveProperty('usage');
    const sha256 = createHash('sha256').update(expected).digest('hex');
    expect((await world.batches.getDetail(head.batchId))?.receipt?.output).toEqual({ bytes: expected.length, sha256 });
  });
});

describe('the merge', () => {
  test('of any split of the lines over shards and segments is what sorting them gives', async () => {
    const kind = fc.constantFrom<TestLine>('runnable', 'runnable', 'runnable', 'blank', 'bad');
    const arbitrary = fc.record({
      kinds: fc.array(kind, { minLength: 1, maxLength: 40 }),
      shardLines: fc.integer({ min: 1, max: 20 }),
      // Which segment of its shard a line goes to; 0: it was not run.
      segments: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 40, maxLength: 40 }),
      failed: fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }),
      foldAt: fc.integer({ min: 0, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(arbitrary, async ({ kinds, shardLines, segments, failed, foldAt }) => {
        const created = await createTestBatch(world, { expiresAt: world.clock.now() });
        const { head, ranges } = await layDown(world, created, kinds, shardLines);
        const isFailed = (line: number) => failed[line - 1] === true;
        for (const range of ranges) {
          const groups = new Map<number, number[]>();
          for (const line of runnableLines(range, kinds)) {
            const segment = segments[line - 1] ?? 0;
            if (segment > 0) groups.set(segment, [...(groups.get(segment) ?? []), line]);
          }
          if (groups.size > 0)
            await commitSegments(world, head, range, [...groups.values()], { failed: isFailed, foldAt });
        }
        await finalize(head);

        const output: string[] = [];
        const errors: string[] = [];
        for (const [index, what] of kinds.entries()) {
          const line = index + 1;
          if (what === 'blank') continue;
          const run = (segments[index] ?? 0) > 0;
          if (what === 'bad') errors.push(badLine(head, line));
          else if (!run) errors.push(`batch_expired ${customId(line)}`);
          else if (isFailed(line)) errors.push(failedLine(head, line));
          else output.push(goodLine(head, line));
        }
        const got = await results(head);
        const linesOf = (text: string) => text.split('\n').slice(0, -1);
        const shortened = (text: string) =>
          text.includes('"batch_expired"') ? `batch_expired ${JSON.parse(text).custom_id}` : text;
        expect(linesOf(got.output)).toEqual(output);
        expect(linesOf(got.errors).map(shortened)).toEqual(errors);
        expect(got.ended.requestCounts).toEqual({
          total: output.length + errors.length,
          completed: output.length,
          failed: errors.length,
        });
      }),
      { numRuns: 25 },
    );
  });
});
