import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';

/**
 * The S3 client of the product; endpoint, region and credentials come from the environment, as the SDK reads it.
 *
 * Checksums are sent where they are asked for (the file store asks for CRC32 with every body), not with everything:
 * a client that adds them by itself bakes the checksum of an empty body into a pre-signed PUT, and S3 then refuses the
 * upload. Answers are read as they come: a range has no checksum, and whole reads are ranges after a resume.
 */
export function createS3Client(config: S3ClientConfig = {}): S3Client {
  return new S3Client({
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // 503 SlowDown lasts until the bucket has spread its keys, a 500 or a reset for some seconds: five retries, with pauses
    // that the SDK doubles (from 500 ms after a SlowDown), go on for 3 to 20 s. Its default of 3 attempts does not.
    maxAttempts: 6,
    retryMode: 'standard',
    requestHandler: {
      connectionTimeout: 5_000,
      // Without it a peer that vanished is waited for until the function's own timeout. A reader that pauses longer
      // loses its connection too, and goes on by itself (rangedRead.ts).
      socketTimeout: 60_000,
    },
    ...config,
  });
}
