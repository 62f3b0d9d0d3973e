import type { ServerResponse } from 'node:http';
import type { Action, Storage } from '../action.ts';
import { checksumHeader } from '../checksums.ts';
import { checkReadConditions } from '../conditions.ts';
import type { StoredObject } from '../objectIndex.ts';
import { type ByteRange, parseRange } from '../range.ts';
import { noSuchKey } from '../s3Error.ts';
import { headerOf, type S3Request } from '../s3Request.ts';
import { overriddenHeaders } from '../storedHeaders.ts';

// Up to this size a range is read in one blocking call and answered at once.
const SMALL_BYTES = 128 * 1024;

export const getObject: Action = async (storage, request, response) => {
  const { object, range } = find(storage, request);
  answerHead(request, response, object, range);
  const { start, end } = range ?? { start: 0, end: object.bytes };
  const pieces = storage.index.pieces(object.objectId, start, end);
  if (end - start <= SMALL_BYTES) {
    response.end(storage.bodies.readNow(pieces, start, end));
    return;
  }
  using _held = storage.bodies.hold(pieces);
  const gone = new Promise<never>((_, reject) => {
    response.once('close', () => reject(new Error('The client has gone.')));
  });
  // Closes at its end as well, when nobody waits any more.
  gone.catch(() => undefined);
  for await (const chunk of storage.bodies.read(pieces, start, end))
    await Promise.race([written(response, chunk), gone]);
  response.end();
};

/** Waits until the kernel has the chunk. */
const written = (response: ServerResponse, chunk: Buffer) =>
  new Promise<void>((resolve, reject) => {
    response.write(chunk, (error) => {
      if (!error) return resolve();
      // A client that has gone is no fault of ours: nothing more is answered.
      response.destroy();
      reject(error);
    });
  });

export const headObject: Action = (storage, request, response) => {
  const { object, range } = find(storage, request);
  answerHead(request, response, object, range);
  response.end();
};

function find(storage: Storage, request: S3Request): { object: StoredObject; range: ByteRange | undefined } {
  const object = storage.index.find(request.bucket, request.key);
  if (!object) throw noSuchKey(request.key);
  checkReadConditions(request, object);
  return { object, range: parseRange(request.message.headers.range, object.bytes) };
}

function answerHead(
  request: S3Request,
  response: ServerResponse,
  object: StoredObject,
  range: ByteRange | undefined,
): void {
  const headers: Record<string, string> = {
    'content-type': 'binary/octet-stream',
    ...overriddenHeaders(object.headers, request.query),
    etag: `"${object.etag}"`,
    'last-modified': new Date(object.modifiedMs).toUTCString(),
    'accept-ranges': 'bytes',
    'content-length': String(range ? range.end - range.start : object.bytes),
  };
  if (range) headers['content-range'] = `bytes ${range.start}-${range.end - 1}/${object.bytes}`;
  else if (object.checksum && headerOf(request, 'x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') {
    headers[checksumHeader(object.checksum.algorithm)] = object.checksum.value;
    headers['x-amz-checksum-type'] = object.checksum.type;
  }
  response.writeHead(range ? 206 : 200, headers);
}
