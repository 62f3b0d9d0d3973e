import type { StoredHeaders } from './objectIndex.ts';
import { S3Error } from './s3Error.ts';
import { amzHeaderNames, headerOf, type S3Request } from './s3Request.ts';

const KEPT = [
  'content-type',
  'content-disposition',
  'content-encoding',
  'content-language',
  'cache-control',
  'expires',
];

// All names and values of x-amz-meta- headers together (S3 user guide, "Working with object metadata"): 2 KB.
const MAX_METADATA_BYTES = 2048;

/** The headers of a request that are given back with the object. */
export function readStoredHeaders(request: S3Request): StoredHeaders {
  const headers: StoredHeaders = {};
  for (const name of KEPT) {
    const value = request.message.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  // aws-chunked says how the request was framed; it is no property of the object.
  const encodings = (headers['content-encoding'] ?? '')
    .split(',')
    .map((encoding) => encoding.trim())
    .filter((encoding) => encoding !== '' && encoding !== 'aws-chunked');
  delete headers['content-encoding'];
  if (encodings.length > 0) headers['content-encoding'] = encodings.join(',');
  let metadataBytes = 0;
  for (const name of amzHeaderNames(request)) {
    if (!name.startsWith('x-amz-meta-')) continue;
    const value = headerOf(request, name) ?? '';
    headers[name] = value;
    metadataBytes += name.length - 'x-amz-meta-'.length + Buffer.byteLength(value, 'latin1');
  }
  if (metadataBytes > MAX_METADATA_BYTES)
    throw new S3Error('MetadataTooLarge', 'Your metadata headers exceed the maximum allowed metadata size', {
      Size: metadataBytes,
      MaxSizeAllowed: MAX_METADATA_BYTES,
    });
  return headers;
}

const OVERRIDES = [
  'content-type',
  'content-language',
  'expires',
  'cache-control',
  'content-disposition',
  'content-encoding',
];

/** What a signed GET asks to be answered instead of what is stored (`response-content-disposition` and so on). */
export function overriddenHeaders(stored: StoredHeaders, query: Map<string, string>): StoredHeaders {
  const headers = { ...stored };
  for (const name of OVERRIDES) {
    const value = query.get(`response-${name}`);
    if (value !== undefined) headers[name] = value;
  }
  return headers;
}

export const RESPONSE_OVERRIDES = OVERRIDES.map((name) => `response-${name}`);
