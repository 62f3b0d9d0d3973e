import { createHash } from 'node:crypto';
import type { CreateBatchBody } from '../contract/batchRequests.ts';
import type { Settings } from '../contract/settings.ts';
import type { BatchDetail, BatchHead } from '../domain/batch.ts';
import { completionWindowMs } from '../domain/completionWindow.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';

type Deps = Pick<Ports, 'batches' | 'idempotency' | 'uploads' | 'workflow' | 'clock' | 'ids' | 'log'> & {
  settings: Settings;
};
export type BatchRecords = { head: BatchHead; detail: BatchDetail | undefined };

/** How long an idempotency key is remembered (CONTRACT "Routes"). */
const IDEMPOTENCY_MS = 24 * 3_600_000;

/**
 * Makes a batch and starts it. With an idempotency key the record of the key holds the id that the batch will have:
 * whoever comes again, also after a death half way, finishes making that very batch. Throws `invalid_request` for an
 * upload that is not there, `conflict` for a key that was used with another body.
 */
export async function createBatch(
  deps: Deps,
  caller: ProjectCaller,
  { body, idempotencyKey }: { body: CreateBatchBody; idempotencyKey: string | undefined },
): Promise<BatchRecords & { created: boolean }> {
  const { projectId } = caller;
  const now = deps.clock.now();
  let batchId = `batch_${deps.ids.ulid()}`;
  if (idempotencyKey === undefined) await checkUpload(deps, projectId, body.input_file_url, now);
  else {
    const bodyHash = hashOfBody(body);
    let standing = await deps.idempotency.find(projectId, idempotencyKey, now);
    if (standing === undefined) {
      // Before the key is taken, so that a refusal uses up none; after it was looked for, since the batch outlives the
      // upload.
      await checkUpload(deps, projectId, body.input_file_url, now);
      const mine = { batchId, bodyHash, expiresAt: now + IDEMPOTENCY_MS };
      standing = await deps.idempotency.begin(projectId, idempotencyKey, mine, now);
    }
    if (standing.bodyHash !== bodyHash)
      throw new ApiError('conflict', 'This Idempotency-Key was used with another body within the last 24 hours.');
    if (standing.batchId !== batchId) {
      batchId = standing.batchId;
      const there = await readBatch(deps, projectId, batchId);
      if (there !== undefined) {
        await start(deps, there.head);
        return { ...there, created: false };
      }
    }
  }

  const records = newBatch(projectId, batchId, body, now);
  const result = await deps.batches.create({
    ...records,
    control: { action: 'run', deadline: records.head.expiresAt },
    dueAt: now + deps.settings.check.lookAgainSeconds * 1000,
  });
  if (result === 'exists') {
    // Two requests with one idempotency key at once: the other one was a little faster.
    const there = await readBatch(deps, projectId, batchId);
    if (there === undefined) throw new Error(`The batch ${batchId} is there and is not.`);
    return { ...there, created: false };
  }
  await start(deps, records.head);
  return { ...records, created: true };
}

/** An upload that this project does not have can never be read: said now, not by a failed batch. */
async function checkUpload(deps: Deps, projectId: string, inputFileUrl: string, now: number): Promise<void> {
  if (!inputFileUrl.startsWith('file://')) return;
  const fileId = inputFileUrl.slice('file://'.length);
  if ((await deps.uploads.get(projectId, fileId, now)) !== undefined) return;
  throw new ApiError('invalid_request', 'The input file is not there.', {
    details: [{ param: 'input_file_url', message: `names no upload of this project: ${fileId}` }],
  });
}

/**
 * Starts the first execution. The batch is durable by now and the check starts what has no execution, so a failure here
 * is no reason to refuse it.
 */
async function start({ workflow, log }: Deps, head: BatchHead): Promise<void> {
  if (head.status !== 'validating' || head.attempt !== 1) return;
  const { projectId, batchId } = head;
  try {
    await workflow.startBatch({ projectId, batchId }, 1);
  } catch (error) {
    log.warn('the first execution could not be started; the check will', {
      batch_id: batchId,
      error_name: error instanceof Error ? error.name : 'unknown',
    });
  }
}

async function readBatch(deps: Deps, projectId: string, batchId: string): Promise<BatchRecords | undefined> {
  const head = await deps.batches.get({ projectId, batchId });
  return head && { head, detail: await deps.batches.getDetail(batchId) };
}

function newBatch(projectId: string, batchId: string, body: CreateBatchBody, now: number) {
  const windowMs = completionWindowMs(body.completion_window);
  if (windowMs === undefined) throw new Error('The body was not checked by its schema.');
  const head: BatchHead = {
    projectId,
    batchId,
    name: body.name,
    type: body.type,
    status: 'validating',
    callbackUrl: body.callback_url,
    inputFileUrl: body.input_file_url,
    onInvalidLine: body.on_invalid_line,
    completionWindow: body.completion_window,
    createdAt: now,
    updatedAt: now,
    expiresAt: now + windowMs,
    enteredAt: { validating: now },
    requestCounts: { total: 0, completed: 0, failed: 0 },
    attempt: 1,
    idleAttempts: 0,
    committedAtAttempt: 0,
    notification: 0,
    version: 0,
  };
  const detail: BatchDetail = { batchId, description: body.description, metadata: body.metadata, errors: [] };
  return { head, detail };
}

/** Of the checked body with its keys sorted: spaces, order and defaults that are spelled out make no other body. */
function hashOfBody(body: CreateBatchBody): string {
  const canonical = JSON.stringify(body, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return createHash('sha256').update(canonical).digest('hex');
}
