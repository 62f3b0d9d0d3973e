import * as z from 'zod';
import {
  CreateBatchHeaders,
  createBatchBody,
  DownloadQuery,
  ListBatchesQuery,
  retryBatchBody,
} from './batchRequests.ts';
import { BatchListView, BatchWithErrorsView } from './batchView.ts';
import { CheckView } from './checkView.ts';
import { Time } from './fields.ts';
import { CreateKeyBody, KeyListView, KeyView, ListKeysQuery, NewKeyView } from './keys.ts';
import { ReceiptView } from './receiptView.ts';
import type { RouteName } from './routes.ts';
import type { Settings } from './settings.ts';

/**
 * What each route takes and answers. The handlers check requests and answers by these schemas, and OpenAPI is made from
 * them. Ids in paths are any text here: a malformed one is a 404 like any other that names nothing.
 */
type Exchange = {
  summary: string;
  params: z.ZodType;
  query: z.ZodType;
  headers: z.ZodType;
  body: z.ZodType | undefined;
  /** By status. */
  answers: Record<number, z.ZodType>;
};

const Nothing = z.strictObject({});
const AnyHeaders = z.object({});
const plain = { params: Nothing, query: Nothing, headers: AnyHeaders, body: undefined } as const;
const BatchParams = z.strictObject({ batch_id: z.string() });

/** A media type with parameters, as a `Content-Type` header has it. */
const MEDIA_TYPE = /^[\w.+-]{1,63}\/[\w.+-]{1,63}(; ?[\w-]{1,32}=[\w.-]{1,64})*$/;

function wholeBytes(max: number) {
  const error = `must be a whole number from 1 to ${max}`;
  return z.int({ error }).min(1, { error }).max(max, { error });
}

const DownloadView = z
  .object({
    output_file_url: z.string().nullable(),
    errors_file_url: z.string().nullable(),
    expires_at: Time.nullable().describe('When the URLs stop working; null where there is none.'),
    as_of: Time.nullable().optional().describe('With `partial`: what was committed by then is in the files.'),
  })
  .meta({ id: 'Download' });
const UploadView = z
  .object({
    id: z.string(),
    upload_url: z
      .string()
      .describe('PUT the file here, with exactly the announced size, and the content type if one was announced.'),
    input_file_url: z.string().describe('What a batch takes as its input_file_url.'),
    expires_at: Time.describe('When upload_url stops working.'),
  })
  .meta({ id: 'Upload' });
const WebhookSecretView = z.object({ secret: z.string(), created_at: Time }).meta({ id: 'WebhookSecret' });
const HealthView = z.object({ status: z.literal('ok'), version: z.string() }).meta({ id: 'Health' });

/** Some limits are the stage's own: largest upload, and whether plain http is taken. */
export function apiOf(settings: Settings) {
  return {
    listBatches: {
      ...plain,
      summary: "The project's batches, newest first.",
      query: ListBatchesQuery,
      answers: { 200: BatchListView },
    },
    createBatch: {
      ...plain,
      summary: 'Makes a batch; it starts at once. 200 where the idempotency key names one that is there already.',
      headers: CreateBatchHeaders,
      body: createBatchBody(settings),
      answers: { 200: BatchWithErrorsView, 201: BatchWithErrorsView },
    },
    checkBatches: {
      ...plain,
      summary: 'Looks at every batch that is due and moves it on. The schedule does the same each minute.',
      answers: { 200: CheckView },
    },
    getBatch: { ...plain, summary: 'One batch.', params: BatchParams, answers: { 200: BatchWithErrorsView } },
    cancelBatch: {
      ...plain,
      summary: 'Cancels a batch: what was paid for is kept, what was not run says so. Again: the same answer.',
      params: BatchParams,
      answers: { 200: BatchWithErrorsView },
    },
    retryBatch: {
      ...plain,
      summary: 'Makes a new batch of just the lines that failed.',
      params: BatchParams,
      headers: CreateBatchHeaders,
      body: retryBatchBody(settings),
      answers: { 200: BatchWithErrorsView, 201: BatchWithErrorsView },
    },
    downloadBatch: {
      ...plain,
      summary:
        'Pre-signed URLs of the files of a batch that has ended; with `partial`, of what a running one has so far.',
      params: BatchParams,
      query: DownloadQuery,
      answers: { 200: DownloadView, 202: DownloadView },
    },
    getReceipt: {
      ...plain,
      summary: 'Counts, sizes and SHA-256 of the files of a batch that has ended.',
      params: BatchParams,
      answers: { 200: ReceiptView },
    },
    createUpload: {
      ...plain,
      summary: 'A pre-signed PUT for an input file.',
      body: z.strictObject({
        bytes: wholeBytes(settings.limits.inputBytes).describe('Exact size of the file.'),
        content_type: z
          .string()
          .regex(MEDIA_TYPE, { error: 'must be a media type, such as application/jsonl' })
          .optional()
          .describe('The Content-Type that the PUT must then carry; any, or none, unless given.'),
      }),
      answers: { 201: UploadView },
    },
    getWebhookSecret: {
      ...plain,
      summary: "The secret that the project's notifications are signed with.",
      answers: { 200: WebhookSecretView },
    },
    rotateWebhookSecret: {
      ...plain,
      summary: 'Makes a new signing secret; for 24 hours notifications are signed with the old one, too.',
      answers: { 200: WebhookSecretView },
    },
    createKey: { ...plain, summary: 'Makes an API key.', body: CreateKeyBody, answers: { 201: NewKeyView } },
    listKeys: { ...plain, summary: 'API keys, newest first.', query: ListKeysQuery, answers: { 200: KeyListView } },
    revokeKey: {
      ...plain,
      summary: 'Revokes an API key for good.',
      params: z.strictObject({ key_id: z.string() }),
      answers: { 200: KeyView },
    },
    getHealth: { ...plain, summary: 'Whether the API is up.', answers: { 200: HealthView } },
    getOpenApi: {
      ...plain,
      summary: 'This contract.',
      answers: { 200: z.looseObject({ openapi: z.string() }).meta({ id: 'OpenApi' }) },
    },
  } as const satisfies Record<RouteName, Exchange>;
}

/** Whether a route that takes a body does without one: its schema has a default for the whole. */
export function isOptional(body: z.ZodType): boolean {
  return body.safeParse(undefined).success;
}

export type Api = ReturnType<typeof apiOf>;
type BodyOf<R extends RouteName> = Api[R]['body'] extends z.ZodType ? z.output<Api[R]['body']> : undefined;

/** A request that was checked. */
export type ApiRequest<R extends RouteName> = {
  params: z.output<Api[R]['params']>;
  query: z.output<Api[R]['query']>;
  headers: z.output<Api[R]['headers']>;
  body: BodyOf<R>;
  /** The body as it was sent, before defaults were filled in. */
  sent: unknown;
};

/** An answer; its schema is that of its status. */
export type ApiAnswer<R extends RouteName> = {
  [Status in keyof Api[R]['answers']]: Api[R]['answers'][Status] extends z.ZodType
    ? { status: Status; body: z.input<Api[R]['answers'][Status]>; headers?: Record<string, string> }
    : never;
}[keyof Api[R]['answers']];
