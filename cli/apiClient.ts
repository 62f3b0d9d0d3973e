import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { request } from 'undici';
import * as z from 'zod';

/** What the command line reads of the API's answers; anything more is let through. */
const CountsSchema = z.object({ total: z.int(), completed: z.int(), failed: z.int() });
const BatchSchema = z.object({
  id: z.string(),
  name: z.string(),
  status: z.string(),
  delivered_at: z.string().nullable(),
  has_output_file: z.boolean(),
  has_errors_file: z.boolean(),
  errors: z
    .array(z.object({ code: z.string(), line: z.int().nullable(), message: z.string(), param: z.string().nullable() }))
    .default([]),
  request_counts: CountsSchema,
  usage: z.object({ input_tokens: z.int(), output_tokens: z.int(), total_tokens: z.int() }).nullable(),
  delivery: z
    .object({ attempts: z.int(), last_status: z.int().nullable(), last_error: z.string().nullable() })
    .nullable(),
});
export type Batch = z.infer<typeof BatchSchema>;

const UploadSchema = z.object({ upload_url: z.string(), input_file_url: z.string() });
const DownloadSchema = z.object({ output_file_url: z.string().nullable(), errors_file_url: z.string().nullable() });
const ErrorSchema = z.object({
  error: z.string(),
  message: z.string(),
  details: z.array(z.object({ param: z.string(), message: z.string() })).optional(),
});

/** The API refused, in its own words. */
export class ApiRefusal extends Error {
  override readonly name = 'ApiRefusal';
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const ENDED = new Set(['completed', 'failed', 'expired', 'cancelled']);
export const hasEnded = (batch: Batch) => ENDED.has(batch.status);

export type ApiClient = ReturnType<typeof createApiClient>;

/** A client of one stage: `url` its root, `key` an API key or token of the project. */
export function createApiClient({ url, key }: { url: string; key: string }) {
  // A request is repeated when the API cannot be reached or is busy: every one of them is safe to repeat.
  const TRIES = 5;

  async function call<T extends z.ZodType>(
    schema: T,
    method: 'GET' | 'POST',
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<z.output<T>> {
    for (let attempt = 1; ; attempt++) {
      const pauseMs = 200 * 2 ** attempt;
      try {
        const answer = await request(new URL(path, `${url.replace(/\/$/, '')}/`), {
          method,
          headers: {
            authorization: `Bearer ${key}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
            ...headers,
          },
          body: body === undefined ? null : JSON.stringify(body),
        });
        const text = await answer.body.text();
        if (answer.statusCode < 300) return schema.parse(JSON.parse(text));
        if (attempt < TRIES && (answer.statusCode === 429 || answer.statusCode >= 500)) {
          await pause(pauseMs);
          continue;
        }
        throw refusal(answer.statusCode, text);
      } catch (error) {
        if (error instanceof ApiRefusal || error instanceof z.ZodError || attempt >= TRIES) throw error;
        await pause(pauseMs);
      }
    }
  }

  return {
    getBatch: (id: string) => call(BatchSchema, 'GET', `batches/${id}`),
    /** `idempotencyKey` makes a repeat after a lost answer find the same batch. */
    createBatch: (body: Record<string, unknown>, idempotencyKey: string) =>
      call(BatchSchema, 'POST', 'batches', body, { 'idempotency-key': idempotencyKey }),
    createUpload: (bytes: number) => call(UploadSchema, 'POST', 'files', { bytes }),
    getDownload: (id: string) => call(DownloadSchema, 'GET', `batches/${id}/download`),
    getWebhookSecret: () => call(z.object({ secret: z.string() }), 'GET', 'webhooks/secret').then((got) => got.secret),
  };
}

function refusal(status: number, text: string): ApiRefusal {
  try {
    const { message, details = [] } = ErrorSchema.parse(JSON.parse(text));
    return new ApiRefusal(
      status,
      [message, ...details.map((detail) => `  ${detail.param}: ${detail.message}`)].join('\n'),
    );
  } catch (cause) {
    // The gateway's own refusals have another shape.
    if (cause instanceof z.ZodError || cause instanceof SyntaxError)
      return new ApiRefusal(status, `The API answered ${status}: ${text.slice(0, 200)}`);
    throw cause;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** PUTs a file to a pre-signed URL, streamed. */
export async function putFile(url: string, path: string, bytes: number): Promise<void> {
  const answer = await request(url, {
    method: 'PUT',
    // The type and the size are part of what was signed.
    headers: { 'content-type': 'application/jsonl', 'content-length': String(bytes) },
    body: createReadStream(path),
  });
  const text = await answer.body.text();
  if (answer.statusCode >= 300) throw new Error(`The upload was refused (${answer.statusCode}): ${text.slice(0, 300)}`);
}

/** Downloads a pre-signed URL into a file, streamed; answers how many lines it has. */
export async function downloadFile(url: string, path: string): Promise<number> {
  const answer = await request(url);
  if (answer.statusCode !== 200) {
    throw new Error(`The download was refused (${answer.statusCode}): ${(await answer.body.text()).slice(0, 300)}`);
  }
  let lines = 0;
  await pipeline(
    answer.body,
    async function* count(chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, at + 1)) lines++;
        yield chunk;
      }
    },
    createWriteStream(path),
  );
  return lines;
}
