import type { S3Client } from '@aws-sdk/client-s3';
import type { GuardOptions } from './guard.ts';

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
