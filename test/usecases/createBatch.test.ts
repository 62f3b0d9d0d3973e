import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemIds } from '../../shared/adapters/system/ids.ts';
import type { CreateBatchBody } from '../../shared/contract/batchRequests.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import type { BatchRef } from '../../shared/domain/batch.ts';
import type { BatchStore, Workflow } from '../../shared/ports.ts';
import { createBatch } from '../../shared/usecases/createBatch.ts';
import { NOON } from '../support/batchRecords.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { recordedLog } from '../support/recordedLog.ts';
import { steadyClock } from '../support/steadyClock.ts';
import { tablePortsOn } from '../support/tablePorts.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

const body: CreateBatchBody = {
  name: 'Product descriptions',
  type: 'COMPLETIONS',
  input_file_url: 'https://example.com/in.jsonl',
  callback_url: 'https://example.com/hook',
  description: 'Spring range',
  completion_window: '2h',
  metadata: { team: 'web' },
  on_invalid_line: 'skip',
};
const HOUR = 3_600_000;

/** Starts are kept by name, as Step Functions keeps them; the rest is not called. */
function recordedWorkflow(start?: () => Promise<'started'>) {
  const started: string[] = [];
  const never = () => Promise.reject(new Error('not expected here'));
  const workflow: Workflow = {
    async startBatch({ batchId }: BatchRef, attempt: number) {
      started.push(`${batchId}-${attempt}`);
      return (await start?.()) ?? 'started';
    },
    startNotification: never,
    describeBatch: never,
    describeNotification: never,
    startSnapshot: never,
    describeSnapshot: never,
    stopBatch: never,
  };
  return { workflow, started };
}

let project = 0;
let caller = { projectId: '', role: 'owner' as const };
beforeEach(() => {
  caller = { projectId: `project-${project++}`, role: 'owner' };
});

function depsOn(options: { start?: () => Promise<'started'>; batches?: Partial<BatchStore> } = {}) {
  const ports = tablePortsOn(table);
  const { workflow, started } = recordedWorkflow(options.start);
  return {
    ...ports,
    batches: { ...ports.batches, ...options.batches },
    workflow,
    started,
    clock: steadyClock(NOON),
    ids: systemIds,
    log: recordedLog(),
    settings: SettingsSchema.parse({}),
  };
}

describe('a new batch', () => {
  it('is on the record as a whole, due for the check, and started', async () => {
    const deps = depsOn();
    const { head, created } = await createBatch(deps, caller, { body, idempotencyKey: undefined });
    expect(created).toBe(true);
    expect(head).toMatchObject({ status: 'validating', attempt: 1, expiresAt: NOON + 2 * HOUR, onInvalidLine: 'skip' });
    const ref = { projectId: caller.projectId, batchId: head.batchId };
    expect(await deps.batches.get(ref)).toEqual(head);
    expect(await deps.batches.getDetail(head.batchId)).toMatchObject({
      description: 'Spring range',
      metadata: { team: 'web' },
      errors: [],
    });
    expect(await deps.controls.get(head.batchId)).toEqual({ action: 'run', deadline: NOON + 2 * HOUR });
    expect(deps.started).toEqual([`${head.batchId}-1`]);
    expect(await deps.batches.listDue(NOON + 10 * 60_000, 100)).toContainEqual(ref);
    expect(await deps.batches.listDue(NOON + 60_000, 100)).not.toContainEqual(ref);
  });

  it('is acknowledged though its execution could not be started: the check will', async () => {
    const deps = depsOn({ start: () => Promise.reject(new Error('no Step Functions')) });
    const { head, created } = await createBatch(deps, caller, { body, idempotencyKey: undefined });
    expect(created).toBe(true);
    expect(deps.log.lines).toContainEqual(expect.objectContaining({ level: 'warn' }));
    expect(await deps.batches.listDue(NOON + 10 * 60_000, 100)).toContainEqual({
      projectId: caller.projectId,
      batchId: head.batchId,
    });
  });

  it('is one more each time without an idempotency key', async () => {
    const deps = depsOn();
    const first = await createBatch(deps, caller, { body, idempotencyKey: undefined });
    const second = await createBatch(deps, caller, { body, idempotencyKey: undefined });
    expect(second.head.batchId > first.head.batchId).toBe(true);
  });
});

describe('an upload as input', () => {
  const inputOf = (fileId: string) => ({ ...body, input_file_url: `file://${fileId}` });
  const put = (deps: ReturnType<typeof depsOn>, projectId: string, fileId: string) =>
    deps.uploads.put({
      projectId,
      fileId,
      key: `uploads/${projectId}/${fileId}`,
      bytes: 1,
      contentType: 'application/jsonl',
      createdAt: NOON,
      expiresAt: NOON + HOUR,
    });

  it('must be one of this project’s', async () => {
    const deps = depsOn();
    const fileId = `file_${systemIds.ulid()}`;
    await put(deps, caller.projectId, fileId);
    expect(await createBatch(deps, caller, { body: inputOf(fileId), idempotencyKey: undefined })).toMatchObject({
      created: true,
    });
    const other = { projectId: `${caller.projectId}-other`, role: 'owner' as const };
    await expect(createBatch(deps, other, { body: inputOf(fileId), idempotencyKey: 'k' })).rejects.toMatchObject({
      error: 'invalid_request',
      details: [{ param: 'input_file_url' }],
    });
  });

  it('may be gone when an idempotency key comes again: the batch stands', async () => {
    const deps = depsOn();
    const fileId = `file_${systemIds.ulid()}`;
    await put(deps, caller.projectId, fileId);
    const first = await createBatch(deps, caller, { body: inputOf(fileId), idempotencyKey: 'k' });
    deps.clock.advance(2 * HOUR);
    const again = await createBatch(deps, caller, { body: inputOf(fileId), idempotencyKey: 'k' });
    expect(again).toEqual({ ...first, created: false });
    await expect(createBatch(deps, caller, { body: inputOf(fileId), idempotencyKey: 'l' })).rejects.toThrow();
    await expect(createBatch(deps, caller, { body, idempotencyKey: 'k' })).rejects.toMatchObject({ error: 'conflict' });
  });

  it('that is refused uses up no idempotency key', async () => {
    const deps = depsOn();
    const missing = inputOf(`file_${systemIds.ulid()}`);
    await expect(createBatch(deps, caller, { body: missing, idempotencyKey: 'k' })).rejects.toThrow();
    expect(await createBatch(deps, caller, { body, idempotencyKey: 'k' })).toMatchObject({ created: true });
  });
});

describe('an idempotency key', () => {
  it('answers the same batch for the same body', async () => {
    const deps = depsOn();
    const first = await createBatch(deps, caller, { body, idempotencyKey: 'k' });
    deps.clock.advance(23 * HOUR);
    const reordered = Object.fromEntries(Object.entries(body).reverse()) as CreateBatchBody;
    const again = await createBatch(deps, caller, { body: reordered, idempotencyKey: 'k' });
    expect(again).toEqual({ ...first, created: false });
  });

  it('with another body is a conflict', async () => {
    const deps = depsOn();
    await createBatch(deps, caller, { body, idempotencyKey: 'k' });
    const other = { ...body, metadata: { team: 'shop' } };
    await expect(createBatch(deps, caller, { body: other, idempotencyKey: 'k' })).rejects.toMatchObject({
      error: 'conflict',
      code: 409,
    });
  });

  it('finds its batch by the body as it was sent where a release fills in other defaults', async () => {
    const deps = depsOn();
    const sent = { name: 'as it was sent' };
    const first = await createBatch(deps, caller, { body, sent, idempotencyKey: 'k' });
    const filled = { ...body, completion_window: '48h' };
    expect(await createBatch(deps, caller, { body: filled, sent, idempotencyKey: 'k' })).toEqual({
      ...first,
      created: false,
    });
    const other = { body: filled, sent: { name: 'another' }, idempotencyKey: 'k' };
    await expect(createBatch(deps, caller, other)).rejects.toMatchObject({ error: 'conflict' });
  });

  it('is forgotten after 24 hours', async () => {
    const deps = depsOn();
    await createBatch(deps, caller, { body, idempotencyKey: 'k' });
    deps.clock.advance(24 * HOUR);
    expect(await createBatch(deps, caller, { body: { ...body, name: 'x' }, idempotencyKey: 'k' })).toMatchObject({
      created: true,
    });
  });

  it('of one project says nothing to another', async () => {
    const deps = depsOn();
    await createBatch(deps, caller, { body, idempotencyKey: 'k' });
    const other = { projectId: `${caller.projectId}-other`, role: 'owner' as const };
    expect(await createBatch(deps, other, { body: { ...body, name: 'x' }, idempotencyKey: 'k' })).toMatchObject({
      created: true,
    });
  });

  it('finishes the very batch that a death between key and record left behind', async () => {
    const died = depsOn({ batches: { create: () => Promise.reject(new Error('killed')) } });
    await expect(createBatch(died, caller, { body, idempotencyKey: 'k' })).rejects.toThrow('killed');
    const deps = depsOn();
    const first = await createBatch(deps, caller, { body, idempotencyKey: 'k' });
    expect(first.created).toBe(true);
    const again = await createBatch(deps, caller, { body, idempotencyKey: 'k' });
    expect(again).toMatchObject({ created: false, head: { batchId: first.head.batchId } });
  });

  it('starts the execution that a death after the record left out', async () => {
    const died = depsOn({ start: () => Promise.reject(new Error('killed')) });
    const { head } = await createBatch(died, caller, { body, idempotencyKey: 'k' });
    const deps = depsOn();
    await createBatch(deps, caller, { body, idempotencyKey: 'k' });
    expect(deps.started).toEqual([`${head.batchId}-1`]);
  });

  it('makes one batch of ten requests at once', async () => {
    const deps = depsOn();
    const all = await Promise.all(
      Array.from({ length: 10 }, () => createBatch(deps, caller, { body, idempotencyKey: 'k' })),
    );
    expect(new Set(all.map(({ head }) => head.batchId)).size).toBe(1);
    // Whoever writes the same record in the same millisecond has made it as well.
    expect(all.some(({ created }) => created)).toBe(true);
    expect(new Set(deps.started).size).toBe(1);
    const ref = { projectId: caller.projectId, take: 100, order: 'desc' } as const;
    expect((await deps.batches.list(ref)).batches).toHaveLength(1);
  });
});
