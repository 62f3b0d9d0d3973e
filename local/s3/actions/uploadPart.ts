import { type Action, answer, type Storage } from '../action.ts';
import { checksumHeader } from '../checksums.ts';
import type { Part } from '../objectIndex.ts';
import { openPayload } from '../payload.ts';
import { noSuchUpload, S3Error } from '../s3Error.ts';
import { findUpload, readPartNumber } from './findUpload.ts';

export const uploadPart: Action = async (storage, request, response) => {
  const { uploadId, checksumAlgorithm } = findUpload(storage, request);
  const partNumber = readPartNumber(request);
  const payload = await openPayload(request);
  const body = await storage.bodies.write(payload);
  const { etag, checksum } = payload.digests();
  if (checksumAlgorithm && checksum?.algorithm !== checksumAlgorithm) {
    await storage.bodies.remove([body.bodyId]);
    const actual = checksum?.algorithm.toLowerCase() ?? 'null';
    throw new S3Error(
      'InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${checksumAlgorithm.toLowerCase()}, actual checksum Type: ${actual}`,
    );
  }
  await storePart(storage, uploadId, {
    partNumber,
    ...body,
    etag,
    modifiedMs: storage.now(),
    ...(checksum ? { checksum } : {}),
  });
  answer(response, 200, {
    etag: `"${etag}"`,
    ...(checksum ? { [checksumHeader(checksum.algorithm)]: checksum.value } : {}),
  });
};

/** Puts the part in the place of one with its number; its body goes where the upload has ended meanwhile. */
export async function storePart(storage: Storage, uploadId: string, part: Part): Promise<void> {
  const freed = storage.index.putPart(uploadId, part);
  await storage.bodies.remove(freed === 'no_upload' ? [part.bodyId] : freed);
  if (freed === 'no_upload') throw noSuchUpload(uploadId);
}
