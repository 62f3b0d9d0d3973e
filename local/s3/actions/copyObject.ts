import { type Action, answerXml, checksumContent, newObject, onePiece } from '../action.ts';
import { INLINE_BYTES } from '../bodyFiles.ts';
import { type ChecksumAlgorithm, createDigest } from '../checksums.ts';
import { writeConditions } from '../conditions.ts';
import { createEtag } from '../etag.ts';
import { S3Error } from '../s3Error.ts';
import { headerOf } from '../s3Request.ts';
import { readStoredHeaders } from '../storedHeaders.ts';
import { findCopySource } from './copySource.ts';
import { readChecksumAlgorithm } from './createMultipartUpload.ts';

export const copyObject: Action = async (storage, request, response) => {
  const allow = writeConditions(request);
  const source = findCopySource(storage, request);
  const directive = headerOf(request, 'x-amz-metadata-directive') ?? 'COPY';
  if (directive !== 'COPY' && directive !== 'REPLACE')
    throw new S3Error('InvalidArgument', 'Unknown metadata directive.', { ArgumentValue: directive });
  const headers = directive === 'REPLACE' ? readStoredHeaders(request) : source.headers;
  const algorithm: ChecksumAlgorithm | undefined = readChecksumAlgorithm(request) ?? source.checksum?.algorithm;
  const pieces = storage.index.pieces(source.objectId, 0, source.bytes);
  const running = createEtag();
  const digest = algorithm && (await createDigest(algorithm));
  using _held = storage.bodies.hold(pieces);

  async function* content() {
    for await (const chunk of storage.bodies.read(pieces, 0, source.bytes)) {
      running.update(chunk);
      digest?.update(chunk);
      // Written later, when the reader has its next chunk.
      yield Buffer.from(chunk);
    }
  }

  const body = await storage.bodies.write(content(), INLINE_BYTES);
  const checksum =
    algorithm && digest ? ({ algorithm, value: digest.base64(), type: 'FULL_OBJECT' } as const) : undefined;
  const object = newObject(storage, body.bodyId, body.bytes, running.end(), headers, checksum);
  try {
    await storage.bodies.remove(storage.index.put(request, object, onePiece(body), allow));
  } catch (error) {
    await storage.bodies.remove([body.bodyId]);
    throw error;
  }
  answerXml(response, 'CopyObjectResult', {
    LastModified: new Date(object.modifiedMs).toISOString(),
    ETag: `"${object.etag}"`,
    ...checksumContent(checksum),
    ...(checksum ? { ChecksumType: checksum.type } : {}),
  });
};
