import { GetObjectCommand, type GetObjectCommandOutput, S3ServiceException } from '@aws-sdk/client-s3';
import { InputRejected } from '../../domain/errors.ts';
import { hasDotSegment } from '../../domain/objectKeys.ts';
import type { InputSource } from '../../ports.ts';
import type { InputSourceOptions } from './inputSourceOptions.ts';
import { describeNetworkFault } from './networkFault.ts';

/** `s3://bucket/key`: the key is everything after the bucket, as it stands (S3 URIs are not percent-encoded). */
const S3_URL = /^s3:\/\/([^/]+)\/(.+)$/is;

/** Reads objects of allow-listed buckets with the function's own rights. The SDK retries what is worth it. */
export function createS3Source(
  options: Pick<InputSourceOptions, 'inputBuckets' | 's3Client' | 'idleTimeoutMs'>,
): InputSource {
  return {
    async open(url, { start = 0, ifRange, signal } = {}) {
      const [, bucket, key] = S3_URL.exec(url) ?? [];
      if (bucket === undefined || key === undefined) {
        throw new InputRejected('input_file_unreachable', 'The input file URL is not of the form s3://bucket/key.');
      }
      if (!options.inputBuckets.includes(bucket)) {
        throw new InputRejected('input_file_forbidden', `The bucket ${bucket} is not one that input may come from.`);
      }
      if (hasDotSegment(key)) {
        throw new InputRejected('input_file_forbidden', 'The key of the input file has a segment "." or "..".');
      }
      const stalled = new AbortController();
      const abortSignal = signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal;
      const patience = watchdog(options.idleTimeoutMs, () => stalled.abort(new StalledError()));
      const rejected = (error: unknown) => {
        patience.stop();
        return signal?.aborted
          ? signal.reason
          : rejection(bucket, stalled.signal.aborted ? stalled.signal.reason : error);
      };
      const opened = await options.s3Client
        .send(
          new GetObjectCommand({
            Bucket: bucket,
            Key: key,
            ...(start > 0 ? { Range: `bytes=${start}-` } : {}),
            ...(ifRange === undefined ? {} : { IfMatch: ifRange }),
          }),
          { abortSignal },
        )
        .catch((error: unknown) => {
          throw rejected(error);
        });
      patience.stop();
      const bytes = wholeLength(opened);
      return {
        body: readBody(opened, patience, rejected),
        ...(bytes === undefined ? {} : { bytes }),
        ...(opened.ETag === undefined ? {} : { etag: opened.ETag }),
        acceptsRanges: true,
        gzip: /\.gz$/i.test(key) || opened.ContentEncoding?.toLowerCase() === 'gzip',
      };
    },
  };
}

class StalledError extends Error {
  override readonly name = 'TimeoutError';
}

type Watchdog = { restart(): void; stop(): void };

function watchdog(ms: number, bark: () => void): Watchdog {
  let timer = setTimeout(bark, ms);
  return {
    restart() {
      clearTimeout(timer);
      timer = setTimeout(bark, ms);
    },
    stop: () => clearTimeout(timer),
  };
}

async function* readBody(
  opened: GetObjectCommandOutput,
  patience: Watchdog,
  rejected: (error: unknown) => unknown,
): AsyncGenerator<Uint8Array> {
  try {
    // In Node the SDK's body is a Readable, whatever its type says for browsers.
    const body = opened.Body as AsyncIterable<Uint8Array> | undefined;
    if (!body) return;
    patience.restart();
    for await (const chunk of body) {
      // Only the source is timed, not what the reader does with a chunk.
      patience.stop();
      yield chunk;
      patience.restart();
    }
  } catch (error) {
    throw rejected(error);
  } finally {
    patience.stop();
  }
}

function wholeLength(opened: GetObjectCommandOutput): number | undefined {
  const total = /\/(\d+)$/.exec(opened.ContentRange ?? '')?.[1];
  return total === undefined ? opened.ContentLength : Number(total);
}

function rejection(bucket: string, error: unknown): InputRejected {
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  const options = { cause: error };
  if (status === 401 || status === 403) {
    return new InputRejected('input_file_forbidden', `The bucket ${bucket} answered ${status}.`, options);
  }
  if (status === 412 || status === 416) {
    return new InputRejected('input_file_changed', `The input file in ${bucket} changed while it was read.`, options);
  }
  const why = status === undefined ? describeNetworkFault(error) : `it answered ${status}`;
  return new InputRejected('input_file_unreachable', `The bucket ${bucket} cannot be read: ${why}.`, options);
}
