import type { ServerResponse } from 'node:http';
import type { Body, BodyFiles, Piece } from './bodyFiles.ts';
import type { Checksum } from './checksums.ts';
import { checksumElement } from './checksums.ts';
import type { ObjectIndex, StoredHeaders, StoredObject } from './objectIndex.ts';
import type { S3Request } from './s3Request.ts';
import { xmlDocument } from './xml.ts';

/** What the actions work on. */
export type Storage = { index: ObjectIndex; bodies: BodyFiles; now(): number };

/** One operation of S3's. Throws an S3Error for what the client did wrong, before anything was answered. */
export type Action = (storage: Storage, request: S3Request, response: ServerResponse) => Promise<void> | void;

export function answer(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  // A 204 has no body by its nature; the rest say so, or an empty chunked one is sent.
  response.writeHead(status, status === 204 ? headers : { ...headers, 'content-length': '0' });
  response.end();
}

export function answerXml(
  response: ServerResponse,
  root: string,
  content: Parameters<typeof xmlDocument>[1],
  headers: Record<string, string> = {},
): void {
  const text = xmlDocument(root, content);
  response.writeHead(200, {
    ...headers,
    'content-type': 'application/xml',
    'content-length': String(Buffer.byteLength(text)),
  });
  response.end(text);
}

/** An object about to be put. */
export function newObject(
  storage: Storage,
  objectId: string,
  bytes: number,
  etag: string,
  headers: StoredHeaders,
  checksum?: Checksum,
): StoredObject {
  return { objectId, bytes, etag, modifiedMs: storage.now(), headers, ...(checksum ? { checksum } : {}) };
}

/** The pieces of an object that is one body; an empty object has none. */
export const onePiece = (body: Body): Piece[] => (body.bytes === 0 ? [] : [{ ...body, start: 0 }]);

/** As elements of an XML answer. */
export const checksumContent = (checksum: { algorithm: Checksum['algorithm']; value: string } | undefined) =>
  checksum ? { [checksumElement(checksum.algorithm)]: checksum.value } : {};
