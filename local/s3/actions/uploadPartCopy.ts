import { type Action, answerXml, checksumContent } from '../action.ts';
import { createDigest } from '../checksums.ts';
import { createEtag } from '../etag.ts';
import type { ByteRange } from '../range.ts';
import { S3Error } from '../s3Error.ts';
import { headerOf, type S3Request } from '../s3Request.ts';
import { findCopySource } from './copySource.ts';
import { findUpload, readPartNumber } from './findUpload.ts';
import { storePart } from './uploadPart.ts';

export const uploadPartCopy: Action = async (storage, request, response) => {
  const upload = findUpload(storage, request);
  const partNumber = readPartNumber(request);
  const source = findCopySource(storage, request);
  const { start, end } = readSourceRange(request, source.bytes);
  const pieces = storage.index.pieces(source.objectId, start, end);
  const running = createEtag();
  const digest = upload.checksumAlgorithm && (await createDigest(upload.checksumAlgorithm));
  using _held = storage.bodies.hold(pieces);

  async function* content() {
    for await (const chunk of storage.bodies.read(pieces, start, end)) {
      running.update(chunk);
      digest?.update(chunk);
      // Written later, when the reader has its next chunk.
      yield Buffer.from(chunk);
    }
  }

  const body = await storage.bodies.write(content());
  const etag = running.end();
  const modifiedMs = storage.now();
  const checksum =
    upload.checksumAlgorithm && digest ? { algorithm: upload.checksumAlgorithm, value: digest.base64() } : undefined;
  await storePart(storage, upload.uploadId, {
    partNumber,
    ...body,
    etag,
    modifiedMs,
    ...(checksum ? { checksum } : {}),
  });
  answerXml(response, 'CopyPartResult', {
    LastModified: new Date(modifiedMs).toISOString(),
    ETag: `"${etag}"`,
    ...checksumContent(checksum),
  });
};

// S3 API reference, UploadPartCopy: a range only where the source is greater than 5 MB.
const MIN_RANGE_SOURCE_BYTES = 5 * 1024 * 1024;

/** `bytes=first-last`, both ends given and inside the source. */
function readSourceRange(request: S3Request, bytes: number): ByteRange {
  const header = headerOf(request, 'x-amz-copy-source-range');
  if (header === undefined) return { start: 0, end: bytes };
  const match = /^bytes=(\d+)-(\d+)$/.exec(header);
  const [start, end] = [Number(match?.[1]), Number(match?.[2]) + 1];
  if (!match || start >= end)
    throw new S3Error(
      'InvalidArgument',
      'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
    );
  if (end > bytes)
    throw new S3Error('InvalidArgument', `Range specified is not valid for source object of size: ${bytes}`);
  if (bytes <= MIN_RANGE_SOURCE_BYTES)
    throw new S3Error('InvalidRequest', 'The specified copy source is not supported as a byte-range copy source');
  return { start, end };
}
