import type { Action } from './action.ts';
import { abortMultipartUpload } from './actions/abortMultipartUpload.ts';
import { completeMultipartUpload } from './actions/completeMultipartUpload.ts';
import { copyObject } from './actions/copyObject.ts';
import { createMultipartUpload } from './actions/createMultipartUpload.ts';
import { deleteObject } from './actions/deleteObject.ts';
import { deleteObjects } from './actions/deleteObjects.ts';
import { getObject, headObject } from './actions/getObject.ts';
import { headBucket } from './actions/headBucket.ts';
import { listObjectsV2 } from './actions/listObjectsV2.ts';
import { listParts } from './actions/listParts.ts';
import { putObject } from './actions/putObject.ts';
import { uploadPart } from './actions/uploadPart.ts';
import { uploadPartCopy } from './actions/uploadPartCopy.ts';
import { S3Error } from './s3Error.ts';
import { amzHeaderNames, headerOf, type S3Request } from './s3Request.ts';
import { RESPONSE_OVERRIDES } from './storedHeaders.ts';

type Operation = {
  name: string;
  method: string;
  on: 'bucket' | 'object';
  /** Parameters that tell this operation from others of its method; with a value where only that one will do. */
  query?: Record<string, string | undefined>;
  copies?: boolean;
  /** Further parameters that it understands. */
  optional?: readonly string[];
  action: Action;
};

const OPERATIONS: readonly Operation[] = [
  { name: 'HeadBucket', method: 'HEAD', on: 'bucket', action: headBucket },
  {
    name: 'ListObjectsV2',
    method: 'GET',
    on: 'bucket',
    query: { 'list-type': '2' },
    optional: ['prefix', 'delimiter', 'continuation-token', 'start-after', 'max-keys', 'encoding-type', 'fetch-owner'],
    action: listObjectsV2,
  },
  { name: 'DeleteObjects', method: 'POST', on: 'bucket', query: { delete: undefined }, action: deleteObjects },
  { name: 'GetObject', method: 'GET', on: 'object', optional: RESPONSE_OVERRIDES, action: getObject },
  { name: 'HeadObject', method: 'HEAD', on: 'object', optional: RESPONSE_OVERRIDES, action: headObject },
  { name: 'PutObject', method: 'PUT', on: 'object', action: putObject },
  { name: 'CopyObject', method: 'PUT', on: 'object', copies: true, action: copyObject },
  { name: 'DeleteObject', method: 'DELETE', on: 'object', action: deleteObject },
  {
    name: 'CreateMultipartUpload',
    method: 'POST',
    on: 'object',
    query: { uploads: undefined },
    action: createMultipartUpload,
  },
  {
    name: 'UploadPart',
    method: 'PUT',
    on: 'object',
    query: { partNumber: undefined, uploadId: undefined },
    action: uploadPart,
  },
  {
    name: 'UploadPartCopy',
    method: 'PUT',
    on: 'object',
    query: { partNumber: undefined, uploadId: undefined },
    copies: true,
    action: uploadPartCopy,
  },
  {
    name: 'CompleteMultipartUpload',
    method: 'POST',
    on: 'object',
    query: { uploadId: undefined },
    action: completeMultipartUpload,
  },
  {
    name: 'AbortMultipartUpload',
    method: 'DELETE',
    on: 'object',
    query: { uploadId: undefined },
    action: abortMultipartUpload,
  },
  {
    name: 'ListParts',
    method: 'GET',
    on: 'object',
    query: { uploadId: undefined },
    optional: ['max-parts', 'part-number-marker', 'encoding-type'],
    action: listParts,
  },
];

/** `x-amz-` headers that mean nothing here, or something that some operation sees to. */
const KNOWN_HEADERS =
  /^x-amz-(meta-.*|checksum-(crc32|crc32c|crc64nvme|sha1|sha256|algorithm|type|mode)|copy-source(-.*)?|metadata-directive|sdk-checksum-algorithm|trailer|decoded-content-length|mp-object-size|content-sha256|date|security-token|user-agent|expected-bucket-owner|source-expected-bucket-owner|request-payer|algorithm|credential|expires|signedheaders|signature)$/;

/** The operation that is asked for; `NotImplemented`, naming it, for any that is not known to the last parameter. */
export function findOperation(request: S3Request): Operation {
  const on = request.key === '' ? 'bucket' : 'object';
  const copies = headerOf(request, 'x-amz-copy-source') !== undefined;
  const asked = [...request.query.keys()].filter((name) => name !== 'x-id' && !name.toLowerCase().startsWith('x-amz-'));
  const operation = OPERATIONS.find(
    (candidate) =>
      candidate.method === request.method &&
      candidate.on === on &&
      (candidate.copies ?? false) === copies &&
      Object.entries(candidate.query ?? {}).every(([name, value]) =>
        value === undefined ? request.query.has(name) : request.query.get(name) === value,
      ) &&
      asked.every((name) => name in (candidate.query ?? {}) || candidate.optional?.includes(name)),
  );
  if (!operation || request.bucket === '') {
    const parameters = asked.length > 0 ? ` with ${asked.join(', ')}` : '';
    const name =
      request.query.get('x-id') ??
      `${request.method} on ${request.bucket === '' ? 'the service' : on === 'object' ? 'an object' : 'a bucket'}`;
    throw new S3Error('NotImplemented', `The local S3 does not implement ${name}${parameters}.`, { Operation: name });
  }
  for (const header of amzHeaderNames(request))
    if (!KNOWN_HEADERS.test(header))
      throw new S3Error('NotImplemented', `The local S3 does not implement ${operation.name} with ${header}.`, {
        Operation: operation.name,
        Header: header,
      });
  return operation;
}
