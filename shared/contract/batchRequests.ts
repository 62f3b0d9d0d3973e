import * as z from 'zod';
import { BATCH_TYPES } from '../domain/batch.ts';
import { BATCH_STATUSES } from '../domain/batchStatus.ts';
import { COMPLETION_WINDOW, completionWindowMs, DEFAULT_COMPLETION_WINDOW } from '../domain/completionWindow.ts';
import { BATCH_ID } from '../domain/ids.ts';
import { callbackUrl, inputFileUrl, text, wholeNumber } from './fields.ts';
import type { Settings } from './settings.ts';

const CompletionWindow = z
  .string()
  .regex(COMPLETION_WINDOW, { error: 'must be <n>m, <n>h or <n>d', abort: true })
  .refine((value) => completionWindowMs(value) !== undefined, { error: 'must be between 1 minute and 7 days' });

const MAX_METADATA = 16;
const Metadata = z
  .record(z.string(), text(0, 512))
  .superRefine((metadata, context) => {
    const keys = Object.keys(metadata);
    if (keys.length > MAX_METADATA)
      context.addIssue({ code: 'custom', message: `must have at most ${MAX_METADATA} pairs` });
    for (const key of keys) {
      // Without a path: there is no name to show.
      if (key.length === 0)
        context.addIssue({ code: 'custom', message: 'must have no empty key: a key has 1 to 64 characters' });
      else if ([...key].length > 64 || !key.isWellFormed())
        context.addIssue({ code: 'custom', path: [key], message: 'its key must have 1 to 64 characters' });
    }
  })
  .meta({ maxProperties: MAX_METADATA, propertyNames: { minLength: 1, maxLength: 64 } });

/** Body of `POST /batches`. Unknown fields are refused by name. */
export function createBatchBody({ allowPrivateNetworks }: Pick<Settings, 'allowPrivateNetworks'>) {
  return z.strictObject({
    name: text(1, 256),
    type: z.enum(BATCH_TYPES),
    input_file_url: inputFileUrl(allowPrivateNetworks).describe('https://…, s3://bucket/key or file://file_…'),
    callback_url: callbackUrl(allowPrivateNetworks).describe('Where the notification is posted.'),
    description: text(0, 4096).nullable().default(null),
    completion_window: CompletionWindow.default(DEFAULT_COMPLETION_WINDOW),
    metadata: Metadata.default({}),
    on_invalid_line: z
      .enum(['fail', 'skip'])
      .default('fail')
      .describe('What one bad line does: fails the batch before anything runs, or goes to the errors file.'),
  });
}
export type CreateBatchBody = z.output<ReturnType<typeof createBatchBody>>;

/** Body of `POST /batches/{batch_id}/retry`; none is `{}`. */
export function retryBatchBody({ allowPrivateNetworks }: Pick<Settings, 'allowPrivateNetworks'>) {
  return z
    .strictObject({
      merge: z
        .boolean()
        .default(false)
        .describe("Whether the output also holds the first batch's results, in the first input's order."),
      callback_url: callbackUrl(allowPrivateNetworks).optional().describe("The first batch's unless given."),
      completion_window: CompletionWindow.optional().describe("The first batch's unless given."),
    })
    .prefault({});
}
export type RetryBatchBody = z.output<ReturnType<typeof retryBatchBody>>;

/** Query of `GET /batches/{batch_id}/download`. */
export const DownloadQuery = z.strictObject({
  partial: z
    .enum(['true', 'false'], { error: 'must be true or false' })
    .default('false')
    .describe('The newest snapshot of what is committed, while the batch runs.'),
});

export const IDEMPOTENCY_HEADER = 'Idempotency-Key';
export const CreateBatchHeaders = z.object({
  [IDEMPOTENCY_HEADER]: z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/, { error: 'must be 1 to 255 printable ASCII characters' })
    .describe('The same key and the same body within 24 hours answer the same batch.')
    .optional(),
});

/** Query of `GET /batches`. */
export const ListBatchesQuery = z
  .strictObject({
    skip: wholeNumber(0, 10_000).optional().describe('How many to leave out; 0 unless given.'),
    take: wholeNumber(1, 100).default(100).describe('How many to answer.'),
    order: z.enum(['asc', 'desc']).default('desc').describe('By creation.'),
    after: z
      .string()
      .regex(BATCH_ID, { error: 'must be a batch id' })
      .optional()
      .describe('Goes on after this batch; instead of skip.'),
    status: z.enum(BATCH_STATUSES).optional(),
  })
  .refine(({ skip, after }) => skip === undefined || after === undefined, {
    path: ['after'],
    error: 'cannot be given together with skip',
  });
export type ListBatchesQuery = z.output<typeof ListBatchesQuery>;
