import { randomUUID } from 'node:crypto';
import { type Action, answerXml } from '../action.ts';
import { CHECKSUM_ALGORITHMS, type Checksum, type ChecksumAlgorithm } from '../checksums.ts';
import { S3Error } from '../s3Error.ts';
import { headerOf, type S3Request } from '../s3Request.ts';
import { readStoredHeaders } from '../storedHeaders.ts';

export const createMultipartUpload: Action = (storage, request, response) => {
  const algorithm = readChecksumAlgorithm(request);
  const type = readChecksumType(request, algorithm);
  const uploadId = randomUUID().replaceAll('-', '');
  storage.index.addUpload({
    uploadId,
    bucket: request.bucket,
    key: request.key,
    startedMs: storage.now(),
    headers: readStoredHeaders(request),
    ...(algorithm && type ? { checksumAlgorithm: algorithm, checksumType: type } : {}),
  });
  answerXml(
    response,
    'InitiateMultipartUploadResult',
    { Bucket: request.bucket, Key: request.key, UploadId: uploadId },
    algorithm && type ? { 'x-amz-checksum-algorithm': algorithm, 'x-amz-checksum-type': type } : {},
  );
};

/** `x-amz-checksum-algorithm`: what the object's checksum is to be. */
export function readChecksumAlgorithm(request: S3Request): ChecksumAlgorithm | undefined {
  const header = headerOf(request, 'x-amz-checksum-algorithm')?.toUpperCase();
  if (header === undefined) return undefined;
  const algorithm = CHECKSUM_ALGORITHMS.find((candidate) => candidate === header);
  if (!algorithm)
    throw new S3Error(
      'InvalidRequest',
      'Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]',
    );
  return algorithm;
}

/** Which types an algorithm can have: S3 user guide, "Checking object integrity". */
function readChecksumType(request: S3Request, algorithm: ChecksumAlgorithm | undefined): Checksum['type'] | undefined {
  const type = headerOf(request, 'x-amz-checksum-type')?.toUpperCase();
  if (!algorithm) {
    if (type !== undefined)
      throw new S3Error(
        'InvalidRequest',
        'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
      );
    return undefined;
  }
  const whole = algorithm.startsWith('CRC');
  if (type === undefined) return algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE';
  if ((type === 'FULL_OBJECT' && whole) || (type === 'COMPOSITE' && algorithm !== 'CRC64NVME')) return type;
  throw new S3Error(
    'InvalidRequest',
    `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
  );
}
