import * as z from 'zod';
import {
  BATCH_TYPES,
  type BatchDetail,
  BatchErrorSchema,
  type BatchHead,
  type RequestCounts,
} from '../domain/batch.ts';
import { BATCH_STATUSES, isEnded } from '../domain/batchStatus.ts';
import { Time, time, timeOrNull } from './fields.ts';

/** The batch object of the wire, made from the records here and nowhere else. */

const Count = z.int().nonnegative();
const TimeOrNull = Time.nullable();

export const BatchView = z
  .object({
    id: z.string(),
    name: z.string(),
    description: z.string().nullable(),
    status: z.enum(BATCH_STATUSES),
    type: z.enum(BATCH_TYPES),
    callback_url: z.string(),
    delivered_at: TimeOrNull.describe('When the receiver answered the notification with a 2xx.'),
    input_file_url: z.string(),
    has_output_file: z.boolean(),
    has_errors_file: z.boolean(),
    project_id: z.string(),
    created_at: Time,
    updated_at: Time,
    request_counts: z
      .object({ total: Count, completed: Count, failed: Count })
      .describe('Live while running; at most 20 seconds old.'),
    usage: z.object({ input_tokens: Count, output_tokens: Count, total_tokens: Count }).nullable(),
    completion_window: z.string(),
    expires_at: Time,
    in_progress_at: TimeOrNull,
    finalizing_at: TimeOrNull,
    completed_at: TimeOrNull,
    failed_at: TimeOrNull,
    expired_at: TimeOrNull,
    cancelling_at: TimeOrNull,
    cancelled_at: TimeOrNull,
    files_expire_at: TimeOrNull,
    delivery: z
      .object({
        attempts: Count,
        last_status: z.int().nullable(),
        last_error: z.string().nullable(),
        next_attempt_at: TimeOrNull,
        gave_up_at: TimeOrNull,
      })
      .nullable(),
    metadata: z.record(z.string(), z.string()),
    retry_of: z.string().nullable(),
  })
  .meta({ id: 'Batch' });
export type BatchView = z.output<typeof BatchView>;

/** What *get* and *create* answer: with `errors`. */
export const BatchWithErrorsView = BatchView.extend({
  errors: z
    .array(BatchErrorSchema)
    .describe('The first 100 bad lines of the input or, once it runs, failed lines. `line` counts physical lines.'),
}).meta({ id: 'BatchWithErrors' });
export type BatchWithErrorsView = z.output<typeof BatchWithErrorsView>;

export const BatchListView = z
  .object({
    batches: z.array(BatchView).describe('Fewer than asked for where more would be too large an answer.'),
    has_more: z.boolean().describe('Whether others follow; `after` with the last id goes on there.'),
  })
  .meta({ id: 'BatchList' });
export type BatchListView = z.output<typeof BatchListView>;

/** Whether a file of the batch can be downloaded now. */
export function canDownload(head: BatchHead, file: 'outputFile' | 'errorsFile', now: number): boolean {
  return (
    isEnded(head.status) && head[file] !== undefined && (head.filesExpireAt === undefined || now < head.filesExpireAt)
  );
}

/**
 * Live counts may have counted a commit twice (an addition whose answer was lost is made again) until Plan or Finalize
 * set them: never shown are more lines than there are.
 */
function shownCounts({ total, completed, failed }: RequestCounts): RequestCounts {
  const shownFailed = Math.min(failed, total);
  return { total, completed: Math.min(completed, total - shownFailed), failed: shownFailed };
}

/** The batch at `now`. `detail` is missing only where its record could not be read in the same breath. */
export function batchView(
  head: BatchHead,
  detail: Pick<BatchDetail, 'description' | 'metadata'> | undefined,
  now: number,
): BatchView {
  const { enteredAt, usage, delivery } = head;
  return {
    id: head.batchId,
    name: head.name,
    description: detail?.description ?? null,
    status: head.status,
    type: head.type,
    callback_url: head.callbackUrl,
    delivered_at: timeOrNull(head.deliveredAt),
    input_file_url: head.inputFileUrl,
    has_output_file: canDownload(head, 'outputFile', now),
    has_errors_file: canDownload(head, 'errorsFile', now),
    project_id: head.projectId,
    created_at: time(head.createdAt),
    updated_at: time(head.updatedAt),
    request_counts: shownCounts(head.requestCounts),
    usage: usage
      ? {
          input_tokens: usage.inputTokens,
          output_tokens: usage.outputTokens,
          total_tokens: usage.inputTokens + usage.outputTokens,
        }
      : null,
    completion_window: head.completionWindow,
    expires_at: time(head.expiresAt),
    in_progress_at: timeOrNull(enteredAt.in_progress),
    finalizing_at: timeOrNull(enteredAt.finalizing),
    completed_at: timeOrNull(enteredAt.completed),
    failed_at: timeOrNull(enteredAt.failed),
    expired_at: timeOrNull(enteredAt.expired),
    cancelling_at: timeOrNull(enteredAt.cancelling),
    cancelled_at: timeOrNull(enteredAt.cancelled),
    files_expire_at: timeOrNull(head.filesExpireAt),
    delivery: delivery
      ? {
          attempts: delivery.attempts,
          last_status: delivery.lastStatus ?? null,
          last_error: delivery.lastError ?? null,
          next_attempt_at: timeOrNull(delivery.nextAttemptAt),
          gave_up_at: timeOrNull(delivery.gaveUpAt),
        }
      : null,
    metadata: { ...detail?.metadata },
    retry_of: head.retryOf ?? null,
  };
}

export function batchWithErrorsView(
  head: BatchHead,
  detail: BatchDetail | undefined,
  now: number,
): BatchWithErrorsView {
  return { ...batchView(head, detail, now), errors: detail?.errors ?? [] };
}
