import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createIdempotencyStore } from '../../shared/adapters/dynamodb/idempotencyStore.ts';
import type { RetryBatchBody } from '../../shared/contract/batchRequests.ts';
import { EXPIRY_DAYS } from '../../shared/contract/retention.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import type { FileInfo } from '../../shared/ports.ts';
import { retryBatch } from '../../shared/usecases/retryBatch.ts';
import { type BatchWorld, createTestBatch, startBatchWorld } from '../support/batchWorld.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';

let world: BatchWorld;
let table: TestTable;
beforeAll(async () => {
  world = await startBatchWorld();
  table = await startDynalite();
});
afterAll(async () => {
  await world.close();
  await table.close();
});

const DAY = 86_400_000;
const caller = { projectId: 'project-a', role: 'owner' as const };
const ULID = '01J9ZQ3V6B8R4M2N7K5T1W0X';
let batches = 0;

/** A batch that ended just now with a failed line; its input and files are there. */
async function ended(fields: Partial<BatchHead> = {}): Promise<BatchHead> {
  const now = world.clock.now();
  const batchId = `batch_${ULID}${String(batches++).padStart(2, '0')}`;
  const ref = { projectId: caller.projectId, batchId };
  const input = await world.files.put(objectKeys.input(ref, 1), 'input');
  return createTestBatch(world, {
    batchId,
    name: 'Descriptions',
    onInvalidLine: 'skip',
    completionWindow: '3d',
    status: 'completed',
    enteredAt: { validating: now, completed: now },
    input: { key: objectKeys.input(ref, 1), bytes: 5, etag: input.etag },
    requestCounts: { total: 2, completed: 1, failed: 1 },
    outputFile: { key: objectKeys.output(ref, 1), bytes: 10 },
    errorsFile: { key: objectKeys.errors(ref, 1), bytes: 10 },
    lineIndex: { key: objectKeys.lineIndex(ref, 1), bytes: 3 },
    filesExpireAt: now + 30 * DAY,
    ...fields,
  });
}

function retry(
  head: BatchHead,
  body: Partial<RetryBatchBody> = {},
  options: { key?: string; info?: Partial<FileInfo> } = {},
) {
  const files = {
    ...world.files,
    // The bucket itself says when it was written, which no test can choose.
    info: async (key: string) => {
      const info = await world.files.info(key);
      return info && { ...info, modifiedAt: world.clock.now(), ...options.info };
    },
  };
  const ids = { ...world.ids, ulid: () => `${ULID}${String(batches++).padStart(2, '0')}` };
  const deps = { ...world, files, ids, idempotency: createIdempotencyStore(table) };
  return retryBatch(deps, caller, head.batchId, { body: { merge: false, ...body }, idempotencyKey: options.key });
}
const conflict = (message: string) => ({ error: 'conflict', message: expect.stringContaining(message) });

describe('a retry', () => {
  test('is a new batch on the same input that knows the index of the first, and the output where it is to merge', async () => {
    const first = await ended();
    const { head, created } = await retry(first);
    expect(created).toBe(true);
    expect(head).toMatchObject({
      status: 'validating',
      name: 'Descriptions',
      onInvalidLine: 'skip',
      callbackUrl: first.callbackUrl,
      inputFileUrl: first.inputFileUrl,
      completionWindow: '3d',
      expiresAt: world.clock.now() + 3 * DAY,
      input: first.input,
      retryOf: first.batchId,
      retry: { merge: false, lines: first.lineIndex },
      requestCounts: { total: 0, completed: 0, failed: 0 },
    });
    expect(head.retry?.output).toBeUndefined();
    expect(head.outcome ?? head.plan ?? head.errorsFile ?? head.filesExpireAt).toBeUndefined();
    expect(await world.batches.get(head)).toEqual(head);
    expect(world.workflow.executions.get(`${head.batchId}-1`)).toBe('running');
    const merged = await retry(first, {
      merge: true,
      callback_url: 'https://example.com/other',
      completion_window: '2h',
    });
    expect(merged.head).toMatchObject({
      callbackUrl: 'https://example.com/other',
      completionWindow: '2h',
      retry: { merge: true, lines: first.lineIndex, output: first.outputFile },
    });
  });

  test.each<[string, Partial<BatchHead>, string]>([
    ['that still runs', { status: 'in_progress' }, 'The batch is in_progress'],
    ['without failed lines', { errorsFile: undefined }, 'No line of the batch has failed'],
    ['whose input was never read', { input: undefined }, 'No line of the batch has failed'],
    ['whose files have expired', { filesExpireAt: 1 }, 'files have expired'],
  ])('of a batch %s is a conflict', async (_, fields, message) => {
    const first = await ended(fields);
    await expect(retry(first)).rejects.toMatchObject(conflict(message));
  });

  test('is a conflict where the input is gone or has been replaced', async () => {
    const first = await ended();
    await world.files.put(first.input?.key ?? '', 'another input');
    await expect(retry(first)).rejects.toMatchObject(conflict('no longer there'));
    await world.files.delete([first.input?.key ?? '']);
    await expect(retry(first)).rejects.toMatchObject(conflict('no longer there'));
  });

  test('is a conflict where the input would be deleted before the new batch is through', async () => {
    const first = await ended();
    const now = world.clock.now();
    // Its window of 3 days and a day to gather.
    const last = now - (EXPIRY_DAYS.inputs - 4) * DAY;
    await expect(retry(first, {}, { info: { modifiedAt: last - 1 } })).rejects.toMatchObject(
      conflict('will be deleted'),
    );
    expect(await retry(first, {}, { info: { modifiedAt: last } })).toMatchObject({ created: true });
    const shorter = await retry(first, { completion_window: '1h' }, { info: { modifiedAt: last - DAY } });
    expect(shorter.created).toBe(true);
  });

  test('may be made with the longest window as long as the files are offered, and not where the bucket would delete them', async () => {
    const now = world.clock.now();
    const on = (endedAt: number) => ended({ enteredAt: { completed: endedAt }, completionWindow: '7d' });
    expect(await retry(await on(now - 30 * DAY))).toMatchObject({ created: true });
    await expect(retry(await on(now - 31 * DAY - 1))).rejects.toMatchObject(conflict('will be deleted'));
  });

  test('under a key is made once, and answered though its input is gone; a refusal uses up no key', async () => {
    const first = await ended();
    const made = await retry(first, { merge: true }, { key: 'k1' });
    expect(await retry({ ...first }, { merge: true }, { key: 'k1' })).toMatchObject({
      created: false,
      head: { batchId: made.head.batchId },
    });
    await expect(retry(first, {}, { key: 'k1' })).rejects.toMatchObject(conflict('Idempotency-Key'));
    await expect(retry(await ended(), { merge: true }, { key: 'k1' })).rejects.toMatchObject(
      conflict('Idempotency-Key'),
    );

    await world.files.delete([first.input?.key ?? '']);
    expect(await retry(first, { merge: true }, { key: 'k1' })).toMatchObject({ created: false });
    await expect(retry(first, {}, { key: 'k2' })).rejects.toMatchObject(conflict('no longer there'));
    await world.files.put(first.input?.key ?? '', 'input');
    expect(await retry(first, {}, { key: 'k2' })).toMatchObject({ created: true });
  });
});
