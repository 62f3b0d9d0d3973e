import { type Action, answerXml, type Storage } from '../action.ts';
import type { StoredObject } from '../objectIndex.ts';
import { S3Error } from '../s3Error.ts';
import { uriEncode } from '../signature.ts';
import { readCount } from './readCount.ts';

type Listed = { kind: 'object'; object: StoredObject & { key: string } } | { kind: 'prefix'; prefix: string };

export const listObjectsV2: Action = (storage, request, response) => {
  const prefix = request.query.get('prefix') ?? '';
  const delimiter = request.query.get('delimiter') ?? '';
  const startAfter = request.query.get('start-after');
  const token = request.query.get('continuation-token');
  const encoding = request.query.get('encoding-type');
  if (encoding !== undefined && encoding !== 'url')
    throw new S3Error('InvalidArgument', 'Invalid Encoding Method specified in Request', {
      ArgumentName: 'encoding-type',
      ArgumentValue: encoding,
    });
  const maxKeys = readCount(request, 'max-keys', 1000);
  const after = token === undefined ? startAfter : readToken(token);
  const page: Listed[] = [];
  let truncated = false;
  // With max-keys 0 nothing is listed and nothing is said to follow.
  for (const listed of maxKeys === 0 ? [] : list(storage, request.bucket, prefix, delimiter, after)) {
    if (page.length === maxKeys) {
      truncated = true;
      break;
    }
    page.push(listed);
  }
  // `/` stays, as S3 leaves it.
  const encode = (text: string) => (encoding === 'url' ? text.split('/').map(uriEncode).join('/') : text);
  const last = page.at(-1);
  answerXml(response, 'ListBucketResult', {
    Name: request.bucket,
    Prefix: encode(prefix),
    ...(delimiter === '' ? {} : { Delimiter: encode(delimiter) }),
    ...(startAfter === undefined ? {} : { StartAfter: encode(startAfter) }),
    ...(token === undefined ? {} : { ContinuationToken: token }),
    ...(encoding === undefined ? {} : { EncodingType: encoding }),
    KeyCount: page.length,
    MaxKeys: maxKeys,
    IsTruncated: truncated,
    ...(truncated && last ? { NextContinuationToken: makeToken(last) } : {}),
    Contents: page.flatMap((listed) =>
      listed.kind === 'prefix'
        ? []
        : [
            {
              Key: encode(listed.object.key),
              LastModified: new Date(listed.object.modifiedMs).toISOString(),
              ETag: `"${listed.object.etag}"`,
              ...(listed.object.checksum
                ? {
                    ChecksumAlgorithm: listed.object.checksum.algorithm,
                    ChecksumType: listed.object.checksum.type,
                  }
                : {}),
              Size: listed.object.bytes,
              StorageClass: 'STANDARD',
            },
          ],
    ),
    CommonPrefixes: page.flatMap((listed) => (listed.kind === 'prefix' ? [{ Prefix: encode(listed.prefix) }] : [])),
  });
};

const PAGE = 1000;
// Sorts behind whatever a key can go on with.
const LAST = '\u{10ffff}';

/** Objects and common prefixes after `after`, in order. Of what a common prefix stands for one row is read. */
function* list(
  storage: Storage,
  bucket: string,
  prefix: string,
  delimiter: string,
  after: string | undefined,
): Generator<Listed> {
  const rolledUp = (key: string) => {
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    return end < 0 ? undefined : key.slice(0, end + delimiter.length);
  };
  const beforePrefix = after === undefined || Buffer.compare(Buffer.from(after), Buffer.from(prefix)) < 0;
  let from = beforePrefix ? { key: prefix, inclusive: true } : { key: after ?? '', inclusive: false };
  for (;;) {
    const rows = storage.index.list(bucket, from, PAGE);
    let skippedTo: string | undefined;
    for (const object of rows) {
      if (!object.key.startsWith(prefix)) return;
      const common = rolledUp(object.key);
      if (common === undefined) yield { kind: 'object', object };
      else {
        // A page that began inside a common prefix has listed it already.
        if (after === undefined || !after.startsWith(common)) yield { kind: 'prefix', prefix: common };
        skippedTo = common + LAST;
        break;
      }
    }
    const last = rows.at(-1);
    if (skippedTo !== undefined) from = { key: skippedTo, inclusive: false };
    else if (last && rows.length === PAGE) from = { key: last.key, inclusive: false };
    else return;
  }
}

const makeToken = (last: Listed) =>
  Buffer.from(last.kind === 'prefix' ? last.prefix + LAST : last.object.key).toString('base64url');

function readToken(token: string): string {
  const key = Buffer.from(token, 'base64url');
  if (key.length === 0 || key.toString('base64url') !== token)
    throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect', {
      ArgumentName: 'continuation-token',
    });
  return key.toString();
}
