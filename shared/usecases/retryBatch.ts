import type { RetryBatchBody } from '../contract/batchRequests.ts';
import { canDownload } from '../contract/batchView.ts';
import { deletedFrom, GATHERING_MS } from '../contract/retention.ts';
import type { Settings } from '../contract/settings.ts';
import type { BatchHead, InputFile, RetrySource, StoredFile } from '../domain/batch.ts';
import { type EndedStatus, isEnded } from '../domain/batchStatus.ts';
import { completionWindowMs } from '../domain/completionWindow.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import { findBatch } from './getBatch.ts';
import { type MadeBatch, makeBatch, newHead } from './makeBatch.ts';

type Deps = Pick<Ports, 'batches' | 'openBatches' | 'files' | 'idempotency' | 'workflow' | 'clock' | 'ids' | 'log'> & {
  settings: Settings;
};
/** A batch that has ended with failed lines. */
type Failed = BatchHead & { status: EndedStatus; input: InputFile; lineIndex: StoredFile };

/**
 * Makes a new batch of just the lines that failed: the same input, told apart by the first batch's index of lines when
 * the new one is validated. Throws `conflict` where there is nothing to repeat, or not all that it takes, or not for
 * long enough.
 */
export async function retryBatch(
  deps: Deps,
  caller: ProjectCaller,
  batchId: string,
  { body, sent, idempotencyKey }: { body: RetryBatchBody; sent?: unknown; idempotencyKey: string | undefined },
): Promise<MadeBatch> {
  const first = await findBatch(deps, caller, batchId);
  const detail = await deps.batches.getDetail(batchId);
  const completionWindow = body.completion_window ?? first.completionWindow;
  const asked = { retry_of: batchId, ...body };
  return makeBatch(deps, {
    projectId: first.projectId,
    idempotency:
      idempotencyKey === undefined ? undefined : { key: idempotencyKey, asked, sent: sentRetry(batchId, sent) },
    check: (now) => checkFiles(deps, first, now, completionWindow),
    records: (newId, now) => {
      const { name, type, inputFileUrl, onInvalidLine, input, lineIndex, outputFile } = failedBatch(first, now);
      const retry: RetrySource = {
        merge: body.merge,
        lines: lineIndex,
        ...(body.merge && outputFile ? { output: outputFile } : {}),
      };
      const callbackUrl = body.callback_url ?? first.callbackUrl;
      const same = { name, type, inputFileUrl, onInvalidLine, completionWindow, callbackUrl };
      return {
        head: newHead({ projectId: first.projectId, batchId: newId }, now, { ...same, input, retryOf: batchId, retry }),
        detail: {
          batchId: newId,
          description: detail?.description ?? null,
          metadata: detail?.metadata ?? {},
          errors: [],
        },
      };
    },
  });
}

/** What is sent to one batch asks for something else than the same sent to another. No body is nothing to go by. */
export function sentRetry(batchId: string, sent: unknown): unknown {
  return sent === undefined ? undefined : { retry_of: batchId, sent };
}

function failedBatch(head: BatchHead, now: number): Failed {
  const { status, input, lineIndex } = head;
  if (!isEnded(status))
    throw new ApiError('conflict', `The batch is ${status}: its failed lines can be repeated once it has ended.`);
  if (!head.errorsFile || !input || !lineIndex)
    throw new ApiError('conflict', 'No line of the batch has failed: there is nothing to repeat.');
  if (!canDownload(head, 'errorsFile', now))
    throw new ApiError('conflict', "The batch's files have expired: which of its lines failed is no longer known.");
  return { ...head, status, input, lineIndex };
}

/** The new batch reads them until its own end, so they have to be there for that long. */
async function checkFiles(deps: Deps, first: BatchHead, now: number, completionWindow: string): Promise<void> {
  const head = failedBatch(first, now);
  const { input, status } = head;
  const neededUntil = now + (completionWindowMs(completionWindow) ?? 0) + GATHERING_MS;
  const info = await deps.files.info(input.key);
  if (info?.etag !== input.etag)
    throw new ApiError('conflict', 'The input file of the batch is no longer there, or has been replaced.');
  if (deletedFrom(input.key, info.modifiedAt) < neededUntil)
    throw new ApiError('conflict', tooShort('The input file of the batch'));
  // An upload of files in parts, which is where their age counts from, begins within the time of gathering.
  const writtenAt = (head.enteredAt[status] ?? head.updatedAt) - GATHERING_MS;
  if (deletedFrom(head.lineIndex.key, writtenAt) < neededUntil)
    throw new ApiError('conflict', tooShort("The batch's files"));
}

function tooShort(what: string): string {
  return `${what} will be deleted before a batch with this completion window is through; a shorter one may do.`;
}
