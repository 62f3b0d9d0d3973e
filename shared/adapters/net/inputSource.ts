import type { S3Client } from '@aws-sdk/client-s3';
import { InputRejected } from '../../domain/errors.ts';
import type { InputSource } from '../../ports.ts';
import type { GuardOptions } from './guard.ts';
import { createHttpSource } from './httpSource.ts';
import { createS3Source } from './s3Source.ts';

export type InputSourceOptions = GuardOptions & {
  /** Buckets that `s3://` input may come from. */
  inputBuckets: readonly string[];
  s3Client: S3Client;
  /** For the answer's head, and between two chunks of its body. */
  idleTimeoutMs: number;
  maxRedirects: number;
  /** Pauses before another try where the source answers 408, 429 or 5xx, or cannot be connected to. */
  pausesMs?: readonly number[];
};

/**
 * Reads input from outside. What it throws is `InputRejected`, before the first byte and in the middle of the body
 * alike; a body that broke off (`input_file_unreachable`) can be gone on with by `start` and `ifRange`.
 */
export function createInputSource(options: InputSourceOptions): InputSource {
  const http = createHttpSource(options);
  const s3 = createS3Source(options);
  return {
    async open(url, range = {}) {
      if (/^s3:/i.test(url)) return s3.open(url, range);
      if (/^https?:/i.test(url)) return http.open(url, range);
      throw new InputRejected('input_file_unreachable', 'The input file URL has a scheme that is not supported.');
    },
  };
}
