import type { StoredObject } from './objectIndex.ts';
import { noSuchKey, S3Error } from './s3Error.ts';
import type { S3Request } from './s3Request.ts';

/** `"…", "…"`, quotes optional, or `*`. */
function matches(header: string, etag: string): boolean {
  return header.split(',').some((candidate) => {
    const bare = candidate
      .trim()
      .replace(/^W\//, '')
      .replace(/^"(.*)"$/, '$1');
    return bare === '*' || bare === etag;
  });
}

const failed = (condition: string) =>
  new S3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', {
    Condition: condition,
  });

/** Whole seconds, as HTTP dates are. */
const seconds = (ms: number) => Math.floor(ms / 1000) * 1000;

/** Conditions of a GET or HEAD, or of a copy's source (`prefix` `x-amz-copy-source-`), in RFC 9110's order. */
export function checkReadConditions(request: S3Request, object: StoredObject, prefix = ''): void {
  const header = (name: string) => {
    const value = request.message.headers[prefix + name];
    return typeof value === 'string' ? value : undefined;
  };
  const ifMatch = header('if-match');
  const ifNoneMatch = header('if-none-match');
  const unmodifiedSince = Date.parse(header('if-unmodified-since') ?? '');
  const modifiedSince = Date.parse(header('if-modified-since') ?? '');
  if (ifMatch !== undefined && !matches(ifMatch, object.etag)) throw failed('If-Match');
  if (ifMatch === undefined && seconds(object.modifiedMs) > unmodifiedSince) throw failed('If-Unmodified-Since');
  const notModified =
    ifNoneMatch !== undefined ? matches(ifNoneMatch, object.etag) : seconds(object.modifiedMs) <= modifiedSince;
  if (!notModified) return;
  if (prefix !== '') throw failed(ifNoneMatch !== undefined ? 'If-None-Match' : 'If-Modified-Since');
  throw new S3Error('NotModified', 'Not Modified', {}, { etag: `"${object.etag}"` });
}

/** Conditions of a write: run in the transaction that makes it, so that of two writers one loses. */
export function writeConditions(request: S3Request): (existing: StoredObject | undefined) => void {
  const ifMatch = request.message.headers['if-match'];
  const ifNoneMatch = request.message.headers['if-none-match'];
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*')
    throw new S3Error('NotImplemented', 'If-None-Match of a write is implemented for * only.', {
      Header: 'If-None-Match',
    });
  return (existing) => {
    if (ifNoneMatch !== undefined && existing) throw failed('If-None-Match');
    if (ifMatch === undefined) return;
    if (!existing) throw noSuchKey(request.key);
    if (!matches(ifMatch, existing.etag)) throw failed('If-Match');
  };
}
