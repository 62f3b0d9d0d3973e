import * as z from 'zod';
import { BATCH_STATUSES } from './batchStatus.ts';

/**
 * A batch as the table keeps it: a small head (listed, polled, moved) and a detail (what would make the head fat).
 * Times are milliseconds since the epoch; the wire's snake_case and ISO times are made in `contract/batchView.ts`.
 */

export const BATCH_TYPES = ['COMPLETIONS', 'EMBEDDINGS'] as const;
export type BatchType = (typeof BATCH_TYPES)[number];

const EpochMs = z.int().nonnegative();
const Count = z.int().nonnegative();

export const RequestCountsSchema = z.object({ total: Count, completed: Count, failed: Count });
export type RequestCounts = z.infer<typeof RequestCountsSchema>;

export const UsageSchema = z.object({ inputTokens: Count, outputTokens: Count });
export type Usage = z.infer<typeof UsageSchema>;

/** Why gathering started; decides the end. Written once, when gathering starts. */
export const OutcomeSchema = z.object({
  kind: z.enum(['completed', 'failed', 'expired', 'cancelled']),
  /** A word for people and metrics: `all_done`, `window_over`, `invalid_input`, a validation code, `step_died` … */
  reason: z.string(),
  /** A sentence for the client, where there is something to say (never holds upstream bodies). */
  message: z.string().optional(),
  fixedAt: EpochMs,
});
export type Outcome = z.infer<typeof OutcomeSchema>;

/** A file that a step wrote into the bucket. */
export const StoredFileSchema = z.object({ key: z.string(), bytes: Count });
export type StoredFile = z.infer<typeof StoredFileSchema>;

/** Our copy of the input, or the upload used in place; pinned by its ETag. */
export const InputFileSchema = StoredFileSchema.extend({ etag: z.string() });
export type InputFile = z.infer<typeof InputFileSchema>;

/** Beyond so many the plan does not name them: the head stays small. */
export const MAX_PLAN_MODELS = 20;

/** What Validate found and laid down. `lines` = runnable + invalid. */
export const PlanSchema = z.object({
  /** JSONL of `ShardRange`, one line a shard, in order. Written once, the same for every attempt. */
  key: z.string(),
  shards: Count,
  lines: Count,
  runnable: Count,
  /** Ready errors-file lines of the bad lines (`on_invalid_line: "skip"`), as one segment sorted by line. */
  invalid: StoredFileSchema.extend({ lines: Count }).optional(),
  /** Lines whose results are taken over from the batch that this one repeats (`retry.merge`); not in `lines`' shards. */
  kept: Count.optional(),
  /** Names of all models that the runnable lines call, where they are few (`MAX_PLAN_MODELS`). */
  models: z.array(z.string()).optional(),
  input: z.object({ bytes: Count, sha256: z.string() }),
});
export type Plan = z.infer<typeof PlanSchema>;

/**
 * What a retry goes by, copied from the batch that it repeats when it is made. `lines` says which input line of that batch
 * is in which of its files (`lineIndex.ts`): the failed ones are run again, and with `merge` the others' results are taken
 * over from `output`.
 */
export const RetrySourceSchema = z.object({
  merge: z.boolean(),
  lines: StoredFileSchema,
  output: StoredFileSchema.optional(),
});
export type RetrySource = z.infer<typeof RetrySourceSchema>;

/** The notification's state (`delivery` on the wire). */
export const DeliverySchema = z.object({
  attempts: Count,
  lastStatus: z.int().optional(),
  lastError: z.string().optional(),
  nextAttemptAt: EpochMs.optional(),
  gaveUpAt: EpochMs.optional(),
});
export type Delivery = z.infer<typeof DeliverySchema>;

export const BatchHeadSchema = z.object({
  projectId: z.string(),
  batchId: z.string(),
  name: z.string(),
  type: z.enum(BATCH_TYPES),
  status: z.enum(BATCH_STATUSES),
  callbackUrl: z.string(),
  inputFileUrl: z.string(),
  onInvalidLine: z.enum(['fail', 'skip']),
  completionWindow: z.string(),
  createdAt: EpochMs,
  updatedAt: EpochMs,
  /** The deadline: `createdAt` + completion window. */
  expiresAt: EpochMs,
  /** When each status was entered. */
  enteredAt: z.partialRecord(z.enum(BATCH_STATUSES), EpochMs),
  outcome: OutcomeSchema.optional(),
  input: InputFileSchema.optional(),
  plan: PlanSchema.optional(),
  requestCounts: RequestCountsSchema,
  usage: UsageSchema.optional(),
  outputFile: StoredFileSchema.optional(),
  errorsFile: StoredFileSchema.optional(),
  /** Which line is in which file: written beside them, for a retry. */
  lineIndex: StoredFileSchema.optional(),
  filesExpireAt: EpochMs.optional(),
  /** Number of the newest execution of the batch machine, from 1; its name is `<batchId>-<attempt>`. */
  attempt: z.int().positive(),
  /** Attempts in a row that got nowhere, and the progress (`progressMade`) when the newest one started. */
  idleAttempts: Count,
  committedAtAttempt: Count,
  /** Number of the newest gathering of results, from 1: files of results carry it, and only it ends the batch. */
  gathering: z.int().positive().optional(),
  /** Number of the newest execution of the notification machine, 0 before the first; `<batchId>-notify-<n>`. */
  notification: Count,
  delivery: DeliverySchema.optional(),
  deliveredAt: EpochMs.optional(),
  retryOf: z.string().optional(),
  retry: RetrySourceSchema.optional(),
  /** The newest attempt when the batch was cancelled: that one is stopped, and a newer one gathers. */
  attemptAtCancel: z.int().positive().optional(),
  /** Goes up with every status move and outcome. */
  version: Count,
});
export type BatchHead = z.infer<typeof BatchHeadSchema>;

/** One of the first 100 problems (`errors` on the wire). `line` is 1-based and physical, null where none is meant. */
export const BatchErrorSchema = z.object({
  code: z.string(),
  line: z.int().positive().nullable(),
  message: z.string(),
  param: z.string().nullable(),
});
export type BatchError = z.infer<typeof BatchErrorSchema>;

/** How many of its problems a batch's record keeps. */
export const MAX_BATCH_ERRORS = 100;

export const FileDigestSchema = z.object({ bytes: Count, sha256: z.string() });

/** What was read and written, computed while the files were written. */
export const ReceiptSchema = z.object({
  lines: Count,
  completed: Count,
  failed: Count,
  input: FileDigestSchema.nullable(),
  output: FileDigestSchema.nullable(),
  errors: FileDigestSchema.nullable(),
});
export type Receipt = z.infer<typeof ReceiptSchema>;

export const BatchDetailSchema = z.object({
  batchId: z.string(),
  description: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
  errors: z.array(BatchErrorSchema),
  receipt: ReceiptSchema.optional(),
});
export type BatchDetail = z.infer<typeof BatchDetailSchema>;

/** What names a batch inside the system. */
export type BatchRef = { projectId: string; batchId: string };
