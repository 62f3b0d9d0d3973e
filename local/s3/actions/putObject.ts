import { type Action, answer, newObject, onePiece } from '../action.ts';
import { INLINE_BYTES } from '../bodyFiles.ts';
import { checksumHeader } from '../checksums.ts';
import { writeConditions } from '../conditions.ts';
import { openPayload } from '../payload.ts';
import { readStoredHeaders } from '../storedHeaders.ts';

export const putObject: Action = async (storage, request, response) => {
  const allow = writeConditions(request);
  const headers = readStoredHeaders(request);
  const payload = await openPayload(request);
  const body = await storage.bodies.write(payload, INLINE_BYTES);
  const { etag, checksum } = payload.digests();
  const stored = checksum && ({ ...checksum, type: 'FULL_OBJECT' } as const);
  try {
    const object = newObject(storage, body.bodyId, body.bytes, etag, headers, stored);
    await storage.bodies.remove(storage.index.put(request, object, onePiece(body), allow));
  } catch (error) {
    await storage.bodies.remove([body.bodyId]);
    throw error;
  }
  answer(response, 200, {
    etag: `"${etag}"`,
    ...(stored ? { [checksumHeader(stored.algorithm)]: stored.value, 'x-amz-checksum-type': stored.type } : {}),
  });
};
