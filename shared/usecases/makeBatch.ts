import { createHash } from 'node:crypto';
import type { Settings } from '../contract/settings.ts';
import type { BatchDetail, BatchHead, BatchRef } from '../domain/batch.ts';
import { completionWindowMs } from '../domain/completionWindow.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import { settleWithin, WORKFLOW_PATIENCE_MS } from './settleWithin.ts';

type Deps = Pick<Ports, 'batches' | 'idempotency' | 'workflow' | 'clock' | 'ids' | 'log'> & { settings: Settings };
export type BatchRecords = { head: BatchHead; detail: BatchDetail | undefined };
export type MadeBatch = BatchRecords & { created: boolean };

export type Making = {
  projectId: string;
  /** `asked`: what the key stands for; the same key with anything else is a conflict. */
  idempotency: { key: string; asked: unknown } | undefined;
  /** Throws where such a batch cannot be made now. Not asked about a batch that an earlier request was promised. */
  check(now: number): Promise<void>;
  records(batchId: string, now: number): { head: BatchHead; detail: BatchDetail };
};

/** How long an idempotency key is remembered (CONTRACT "Routes"). */
const IDEMPOTENCY_MS = 24 * 3_600_000;

/**
 * Puts a new batch on the record and starts it. With an idempotency key the record of the key holds the id that the
 * batch will have: whoever comes again, also after a death half way, finishes making that very batch.
 */
export async function makeBatch(deps: Deps, making: Making): Promise<MadeBatch> {
  const { projectId, idempotency } = making;
  const now = deps.clock.now();
  let batchId = `batch_${deps.ids.ulid()}`;
  if (idempotency === undefined) await making.check(now);
  else {
    const bodyHash = hashOf(idempotency.asked);
    let standing = await deps.idempotency.find(projectId, idempotency.key, now);
    if (standing === undefined) {
      // Before the key is taken, so that a refusal uses up none; after it was looked for, since the batch outlives what
      // it was made from.
      await making.check(now);
      const mine = { batchId, bodyHash, expiresAt: now + IDEMPOTENCY_MS };
      standing = await deps.idempotency.begin(projectId, idempotency.key, mine, now);
    }
    if (standing.bodyHash !== bodyHash)
      throw new ApiError('conflict', 'This Idempotency-Key was used with another body within the last 24 hours.');
    if (standing.batchId !== batchId) {
      batchId = standing.batchId;
      const there = await readBatch(deps, { projectId, batchId });
      if (there !== undefined) {
        await start(deps, there.head);
        return { ...there, created: false };
      }
    }
  }

  const records = making.records(batchId, now);
  const result = await deps.batches.create({
    ...records,
    control: { action: 'run', deadline: records.head.expiresAt },
    dueAt: now + deps.settings.check.lookAgainSeconds * 1000,
  });
  if (result === 'exists') {
    // Two requests with one idempotency key at once: the other one was a little faster.
    const there = await readBatch(deps, { projectId, batchId });
    if (there === undefined) throw new Error(`The batch ${batchId} is there and is not.`);
    return { ...there, created: false };
  }
  await start(deps, records.head);
  return { ...records, created: true };
}

type Asked = Pick<
  BatchHead,
  | 'name'
  | 'type'
  | 'callbackUrl'
  | 'inputFileUrl'
  | 'onInvalidLine'
  | 'completionWindow'
  | 'input'
  | 'retryOf'
  | 'retry'
>;

/** The head of a batch that nothing has happened to yet. */
export function newHead({ projectId, batchId }: BatchRef, now: number, asked: Asked): BatchHead {
  const windowMs = completionWindowMs(asked.completionWindow);
  if (windowMs === undefined) throw new Error('The completion window was not checked by its schema.');
  return {
    projectId,
    batchId,
    ...asked,
    status: 'validating',
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
}

/**
 * Starts the first execution. The batch is durable by now and the check starts what has no execution, so a failure here
 * is no reason to refuse it.
 */
async function start({ workflow, log }: Deps, head: BatchHead): Promise<void> {
  if (head.status !== 'validating' || head.attempt !== 1) return;
  const { projectId, batchId } = head;
  try {
    const started = workflow.startBatch({ projectId, batchId }, 1).then(() => undefined);
    if ((await settleWithin(started, WORKFLOW_PATIENCE_MS)) === 'timed_out')
      log.warn('the first execution is started slowly; the check looks after it', { batch_id: batchId });
  } catch (error) {
    log.warn('the first execution could not be started; the check will', {
      batch_id: batchId,
      error,
    });
  }
}

async function readBatch(deps: Deps, ref: BatchRef): Promise<BatchRecords | undefined> {
  const head = await deps.batches.get(ref);
  return head && { head, detail: await deps.batches.getDetail(ref.batchId) };
}

/** With the keys sorted: spaces, order and defaults that are spelled out make nothing else of a checked body. */
function hashOf(asked: unknown): string {
  const canonical = JSON.stringify(asked, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return createHash('sha256').update(canonical).digest('hex');
}
