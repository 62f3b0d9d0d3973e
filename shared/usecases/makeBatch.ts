import { createHash } from 'node:crypto';
import type { Settings } from '../contract/settings.ts';
import type { BatchDetail, BatchHead, BatchRef } from '../domain/batch.ts';
import { completionWindowMs } from '../domain/completionWindow.ts';
import { ApiError } from '../domain/errors.ts';
import { quotaExceeded } from '../domain/quotas.ts';
import type { IdempotencyRecord, Ports } from '../ports.ts';
import { settleWithin, WORKFLOW_PATIENCE_MS } from './settleWithin.ts';

type Deps = Pick<Ports, 'batches' | 'openBatches' | 'idempotency' | 'workflow' | 'clock' | 'ids' | 'log'> & {
  settings: Settings;
};
export type BatchRecords = { head: BatchHead; detail: BatchDetail | undefined };
export type MadeBatch = BatchRecords & { created: boolean };

export type Making = {
  projectId: string;
  /**
   * `asked`: what the key stands for; the same key with anything else is a conflict. `sent`: the same as it came, so that
   * a repeat is known again by a release with other defaults.
   */
  idempotency: { key: string; asked: unknown; sent?: unknown } | undefined;
  /** Throws where such a batch cannot be made now. Not asked about a batch that an earlier request was promised. */
  check(now: number): Promise<void>;
  records(batchId: string, now: number): { head: BatchHead; detail: BatchDetail };
};

/** How long an idempotency key is remembered (CONTRACT "Routes"). */
const IDEMPOTENCY_MS = 24 * 3_600_000;
/** When a batch of the project ends nobody knows; a client that asks each minute is soon served and costs nothing. */
const FULL_RETRY_AFTER_SECONDS = 60;

/**
 * Puts a new batch on the record and starts it. With an idempotency key the record of the key holds the id that the
 * batch will have: whoever comes again, also after a death half way, finishes making that very batch.
 */
export async function makeBatch(deps: Deps, making: Making): Promise<MadeBatch> {
  const { projectId, idempotency } = making;
  const now = deps.clock.now();
  let batchId = `batch_${deps.ids.ulid()}`;
  let isPromised = false;
  if (idempotency === undefined) {
    await making.check(now);
    if (!(await takePlace(deps, { projectId, batchId }, now))) throw noPlace(deps, projectId);
  } else {
    const { key, asked, sent } = idempotency;
    const hashes = { bodyHash: hashOf(asked), ...(sent === undefined ? {} : { sentHash: hashOf(sent) }) };
    const standing =
      (await deps.idempotency.find(projectId, key, now)) ??
      (await takeKey(deps, making, key, { ...hashes, batchId, expiresAt: now + IDEMPOTENCY_MS }, now));
    if (standing.bodyHash !== hashes.bodyHash && !isSent(standing, sent))
      throw new ApiError('conflict', 'This Idempotency-Key was used with another body within the last 24 hours.');
    if (standing.batchId !== batchId) {
      batchId = standing.batchId;
      const there = await readBatch(deps, { projectId, batchId });
      if (there !== undefined) {
        await start(deps, there.head);
        return { ...there, created: false };
      }
      isPromised = true;
    }
  }

  const records = making.records(batchId, now);
  // It had a place when its key was taken, and is made although another may have that by now.
  if (isPromised) await deps.openBatches.take({ projectId, batchId }, undefined, now);
  const result = await deps.batches.create({
    ...records,
    control: { action: 'run', deadline: records.head.expiresAt },
    dueAt: now + deps.settings.check.lookAgainSeconds * 1000,
  });
  if (result === 'exists') {
    // Two requests with one idempotency key at once: the other one was a little faster.
    const there = await readBatch(deps, { projectId, batchId });
    if (there === undefined) throw new Error(`The batch ${batchId} is there and is not.`);
    await start(deps, there.head);
    return { ...there, created: false };
  }
  await start(deps, records.head);
  return { ...records, created: true };
}

/**
 * The batch that this very body has made under this key. For a body that is refused: the release or the stage may have
 * changed since it was taken, and who repeats a request asks for its batch, not for another.
 */
export async function repeatedBatch(
  deps: Pick<Deps, 'batches' | 'idempotency' | 'workflow' | 'clock' | 'log'>,
  { projectId, key, sent }: { projectId: string; key: string | undefined; sent: unknown },
): Promise<MadeBatch | undefined> {
  const standing = key === undefined ? undefined : await deps.idempotency.find(projectId, key, deps.clock.now());
  if (standing === undefined || !isSent(standing, sent)) return undefined;
  const there = await readBatch(deps, { projectId, batchId: standing.batchId });
  if (there === undefined) return undefined;
  await start(deps, there.head);
  return { ...there, created: false };
}

function isSent({ sentHash }: IdempotencyRecord, sent: unknown): boolean {
  return sentHash !== undefined && sent !== undefined && sentHash === hashOf(sent);
}

/**
 * Takes the key for a new batch; answers what stands under it. Refusals come before, so that they use up no key, and after
 * the key was looked for, since the batch outlives what it was made from.
 */
async function takeKey(
  deps: Deps,
  { projectId, check }: Making,
  key: string,
  mine: IdempotencyRecord,
  now: number,
): Promise<IdempotencyRecord> {
  const ref = { projectId, batchId: mine.batchId };
  await check(now);
  if (!(await takePlace(deps, ref, now))) {
    // A twin of this request may have taken the last place, and then the key.
    const twin = await deps.idempotency.find(projectId, key, now);
    if (twin === undefined) throw noPlace(deps, projectId);
    return twin;
  }
  const standing = await deps.idempotency.begin(projectId, key, mine, now);
  if (standing.batchId !== mine.batchId) await deps.openBatches.give(ref);
  return standing;
}

/** Where the table does not answer, no batch can be recorded either. */
async function takePlace({ openBatches, settings }: Deps, ref: BatchRef, now: number): Promise<boolean> {
  return (await openBatches.take(ref, settings.quotas.openBatches, now)) === 'taken';
}

function noPlace({ settings }: Deps, projectId: string): ApiError {
  return quotaExceeded(
    `The project ${projectId} has ${settings.quotas.openBatches} batches that have not ended, as many as its quota allows (openBatches). Wait until one ends, or cancel one (POST /batches/{batch_id}/cancel), and send this request again; or ask the operator for more.`,
    FULL_RETRY_AFTER_SECONDS,
  );
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
async function start({ workflow, log }: Pick<Deps, 'workflow' | 'log'>, head: BatchHead): Promise<void> {
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

async function readBatch(deps: Pick<Deps, 'batches'>, ref: BatchRef): Promise<BatchRecords | undefined> {
  const head = await deps.batches.get(ref);
  return head && { head, detail: await deps.batches.getDetail(ref.batchId) };
}

/** With the keys sorted: spaces, order and defaults that are spelled out make nothing else of a checked body. */
export function hashOf(asked: unknown): string {
  const canonical = JSON.stringify(asked, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return createHash('sha256').update(canonical).digest('hex');
}
