import { GetObjectCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import { freeMemory } from '../../domain/freeMemory.ts';
import { FileChanged, FileMissing } from '../../ports.ts';

// In a row, without a byte in between. The client itself retries a request that gets no answer at all.
const MAX_RESUMES = 4;

export type ReadRange = { start?: number; end?: number; ifMatch?: string; passing?: boolean };
type Opened = { body: AsyncIterable<Uint8Array>; bytes: number; etag: string | undefined };

/**
 * Streams bytes `start`…`end` (exclusive) of an object. Where the connection breaks, goes on from that byte of the very
 * same object: the ETag of the first answer is pinned. Bytes beyond the object's end are not there and not an error.
 * With `passing`, a chunk is good until the next is asked for.
 */
export async function readRange(
  target: { client: S3Client; bucket: string; key: string },
  range: ReadRange,
): Promise<AsyncIterable<Uint8Array>> {
  const { start = 0, end } = range;
  const first = await openRange(target, start, end, range.ifMatch);
  return resuming(target, range, first);
}

async function* resuming(
  target: { client: S3Client; bucket: string; key: string },
  range: ReadRange,
  first: Opened,
): AsyncGenerator<Uint8Array> {
  let position = range.start ?? 0;
  const end = position + first.bytes;
  let opened: Opened | undefined = first;
  for (let broken = 0; position < end; ) {
    try {
      opened ??= await openRange(target, position, end, first.etag ?? range.ifMatch);
      for await (const chunk of opened.body) {
        position += chunk.length;
        broken = 0;
        yield chunk;
        if (range.passing) freeMemory(chunk);
      }
      if (position < end) throw new Error(`${target.key} ended at byte ${position} of ${end}.`);
    } catch (error) {
      if (error instanceof FileChanged || error instanceof FileMissing) throw error;
      if (++broken > MAX_RESUMES) throw error;
      opened = undefined;
    }
  }
}

async function openRange(
  { client, bucket, key }: { client: S3Client; bucket: string; key: string },
  start: number,
  end: number | undefined,
  ifMatch: string | undefined,
): Promise<Opened> {
  const nothing = end !== undefined && end <= start;
  // No range header can ask for nothing: one byte is asked for, so that the file and its ETag are still looked at.
  const range = nothing ? `bytes=${start}-${start}` : `bytes=${start}-${end === undefined ? '' : end - 1}`;
  try {
    const answer = await client.send(
      new GetObjectCommand({
        Bucket: bucket,
        Key: key,
        ...(start === 0 && end === undefined ? {} : { Range: range }),
        ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }),
      }),
    );
    // In Node the SDK's body is always a stream that can be iterated.
    const body = answer.Body as (AsyncIterable<Uint8Array> & { destroy?: () => void }) | undefined;
    // An empty body is never read, and one that is not read keeps its connection: after 50 of them there is none left.
    if (nothing || !body || answer.ContentLength === 0) {
      body?.destroy?.();
      return { body: noBytes(), bytes: 0, etag: answer.ETag };
    }
    if (answer.ContentLength === undefined) throw new Error(`S3 answered no length for ${key}.`);
    return { body, bytes: answer.ContentLength, etag: answer.ETag };
  } catch (error) {
    if (!(error instanceof S3ServiceException)) throw error;
    const status = error.$metadata.httpStatusCode;
    if (status === 404) throw new FileMissing(`There is no file ${key}.`, { cause: error });
    if (status === 412) throw new FileChanged(`The file ${key} is not the one that was recorded.`, { cause: error });
    // S3 looks at If-Match first, so the file is the one meant; it just ends before `start`.
    if (status === 416) return { body: noBytes(), bytes: 0, etag: ifMatch };
    throw error;
  }
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}
