import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';

/**
 * The S3 client of the product; endpoint, region and credentials come from the environment, as the SDK reads it.
 *
 * Checksums are sent where they are asked for (the file store asks for CRC32 with every body), not with everything:
 * a client that adds them by itself bakes the checksum of an empty body into a pre-signed PUT, and S3 then refuses the
 * upload. Answers are read as they come: a range has no checksum, and whole reads are ranges after a resume.
 */
export function createS3Client(config: S3ClientConfig = {}): S3Client {
  const client = new S3Client({
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
  // As for the table's client: copies for a log that nobody has.
  client.middlewareStack.remove('loggerMiddleware');
  client.middlewareStack.add(
    (next, { commandName }) =>
      (args) => {
        if (commandName !== undefined && SENDS_BODY.has(commandName)) spareSecondHash(args.request);
        return next(args);
      },
    // Behind the SDK's checksums, which are made in this step, and before it signs.
    { step: 'build', priority: 'low', name: 'spareSecondHash' },
  );
  return client;
}

/** Others may name the checksum of something else than their body (that of the object, in CompleteMultipartUpload). */
const SENDS_BODY: ReadonlySet<string> = new Set(['PutObjectCommand', 'UploadPartCommand', 'DeleteObjectsCommand']);

/**
 * A body that goes with its CRC32 is not hashed with SHA-256 as well, as the signer does unless the header names
 * something else (getPayloadHash of @smithy/signature-v4): three times the work of the checksum, here and in the local
 * S3. The checksum is under the signature and S3 refuses a body that does not match it; that nobody replaces both on
 * the way is TLS's part (S3 API reference, "Authenticating Requests: Using the Authorization Header").
 */
function spareSecondHash(request: unknown): void {
  // What comes here is an HTTP request of the SDK's.
  const { headers } = request as { headers: Record<string, string> };
  if (headers['x-amz-checksum-crc32'] !== undefined) headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
}
