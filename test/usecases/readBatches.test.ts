import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { systemIds } from '../../shared/adapters/system/ids.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { createUpload } from '../../shared/usecases/createUpload.ts';
import { downloadBatch } from '../../shared/usecases/downloadBatch.ts';
import { getBatch } from '../../shared/usecases/getBatch.ts';
import { getWebhookSecret } from '../../shared/usecases/getWebhookSecret.ts';
import { listBatches } from '../../shared/usecases/listBatches.ts';
import { batchDetail, batchHead, NOON } from '../support/batchRecords.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { type LocalS3, startLocalS3 } from '../support/localS3.ts';
import { steadyClock } from '../support/steadyClock.ts';
import { tablePortsOn } from '../support/tablePorts.ts';

let table: TestTable;
let s3: LocalS3;
beforeAll(async () => {
  [table, s3] = await Promise.all([startDynalite(), startLocalS3()]);
});
afterAll(async () => {
  await Promise.all([table.close(), s3.close()]);
});

// Real time: what is pre-signed is checked against the real clock. Late in its second, which signatures know nothing of.
const second = Math.floor(Date.now() / 1000) * 1000;
const now = second + 999;
const depsOn = () => ({
  ...tablePortsOn(table),
  files: createFileStore(s3),
  clock: steadyClock(now),
  ids: systemIds,
  settings: SettingsSchema.parse({}),
});
type Deps = ReturnType<typeof depsOn>;
const caller = { projectId: 'acme', role: 'viewer' as const };

async function put(deps: Deps, change: Partial<BatchHead> = {}): Promise<BatchHead> {
  const head = batchHead({ batchId: `batch_${systemIds.ulid()}`, ...change });
  const detail = batchDetail({ batchId: head.batchId, description: 'Spring range', metadata: { team: 'web' } });
  const control = { action: 'run', deadline: head.expiresAt } as const;
  await deps.batches.create({ head, detail, control, dueAt: NOON });
  return head;
}

describe('a batch', () => {
  it('is read by its own project only', async () => {
    const deps = depsOn();
    const head = await put(deps);
    expect(await getBatch(deps, caller, head.batchId)).toMatchObject({ head, detail: { metadata: { team: 'web' } } });
    const other = { projectId: 'other', role: 'owner' as const };
    await expect(getBatch(deps, other, head.batchId)).rejects.toMatchObject({ error: 'not_found', code: 404 });
  });

  it.each(['check-batches', 'batch_', 'batch_0', '', 'BATCH_01J9ZQ3V6B8R4M2N7K5T1W0XYZ', 'a'.repeat(5000)])(
    'of the id %.40s is a 404',
    async (id) => {
      await expect(getBatch(depsOn(), caller, id)).rejects.toMatchObject({ error: 'not_found' });
    },
  );

  it('is listed with what its detail adds', async () => {
    const deps = depsOn();
    const head = await put(deps, { projectId: 'lister' });
    const page = await listBatches(deps, { projectId: 'lister', role: 'viewer' }, { take: 100, order: 'desc' });
    expect(page).toMatchObject({ hasMore: false, batches: [{ head, detail: { description: 'Spring range' } }] });
  });
});

describe('the files of a batch', () => {
  it.each(['validating', 'in_progress', 'finalizing', 'cancelling'] as const)(
    'are a conflict while it is %s',
    async (status) => {
      const deps = depsOn();
      const { batchId } = await put(deps, { status });
      await expect(downloadBatch(deps, caller, batchId)).rejects.toMatchObject({ error: 'conflict', code: 409 });
    },
  );

  it('are null where it ended without', async () => {
    const deps = depsOn();
    const { batchId } = await put(deps, { status: 'failed' });
    expect(await downloadBatch(deps, caller, batchId)).toEqual({
      outputFileUrl: null,
      errorsFileUrl: null,
      expiresAt: undefined,
    });
  });

  it('are downloaded under their own names by pre-signed URLs', async () => {
    const deps = depsOn();
    const batchId = `batch_${systemIds.ulid()}`;
    const key = objectKeys.output({ projectId: 'acme', batchId }, 1);
    await deps.files.put(key, '{"id":"x"}\n');
    await put(deps, {
      batchId,
      status: 'completed',
      outputFile: { key, bytes: 11 },
      filesExpireAt: now + 86_400_000,
    });
    const files = await downloadBatch(deps, caller, batchId);
    expect(files).toMatchObject({ errorsFileUrl: null, expiresAt: second + 900_000 });
    const answer = await fetch(files.outputFileUrl ?? '');
    expect(await answer.text()).toBe('{"id":"x"}\n');
    expect(answer.headers.get('content-disposition')).toContain(`${batchId}-output.jsonl`);
  });

  it('are null once they have expired', async () => {
    const deps = depsOn();
    const { batchId } = await put(deps, {
      status: 'completed',
      outputFile: { key: 'outputs/acme/x/1-output.jsonl', bytes: 11 },
      filesExpireAt: now,
    });
    expect(await downloadBatch(deps, caller, batchId)).toMatchObject({ outputFileUrl: null });
  });
});

describe('an upload', () => {
  const send = (url: string, body: string, type = 'application/jsonl') =>
    fetch(url, { method: 'PUT', body, headers: { 'content-type': type } });

  it('is put straight to storage, of exactly the announced size', async () => {
    const deps = depsOn();
    const manager = { projectId: 'acme', role: 'owner' as const };
    const upload = await createUpload(deps, manager, { bytes: 11, contentType: 'application/jsonl' });
    expect(upload.fileId).toMatch(/^file_[0-9A-Z]{26}$/);
    expect(upload.expiresAt).toBe(second + 3_600_000);
    expect((await send(upload.uploadUrl, '{"a":1}')).ok).toBe(false);
    expect((await send(upload.uploadUrl, '{"id":"x"}\n')).status).toBe(200);
    const stored = await deps.uploads.get('acme', upload.fileId, now);
    expect(stored).toMatchObject({ bytes: 11, expiresAt: now + 7 * 86_400_000 });
    expect(await deps.files.info(stored?.key ?? '')).toMatchObject({ bytes: 11 });
  });

  it('is of the announced type, or of any where none was announced', async () => {
    const deps = depsOn();
    const manager = { projectId: 'acme', role: 'owner' as const };
    const named = await createUpload(deps, manager, { bytes: 3, contentType: 'text/plain' });
    expect((await send(named.uploadUrl, '{}\n')).status).toBe(403);
    expect((await send(named.uploadUrl, '{}\n', 'text/plain')).status).toBe(200);
    const open = await createUpload(deps, manager, { bytes: 3, contentType: undefined });
    expect((await send(open.uploadUrl, '{}\n')).status).toBe(200);
    expect((await fetch(open.uploadUrl, { method: 'PUT', body: Buffer.from('{}\n') })).status).toBe(200);
    expect(await deps.uploads.get('acme', open.fileId, now)).not.toHaveProperty('contentType');
  });
});

describe('the webhook secret', () => {
  it('is made once for a project, as Standard Webhooks has it', async () => {
    const deps = depsOn();
    const first = await getWebhookSecret(deps, caller);
    expect(first.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(await getWebhookSecret(deps, caller)).toEqual(first);
    const other = await getWebhookSecret(deps, { projectId: 'another' });
    expect(other.secret).not.toBe(first.secret);
  });
});
