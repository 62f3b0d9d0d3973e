import type { Storage } from '../action.ts';
import { checkReadConditions } from '../conditions.ts';
import type { StoredObject } from '../objectIndex.ts';
import { noSuchKey, S3Error } from '../s3Error.ts';
import { headerOf, type S3Request } from '../s3Request.ts';

/** The object that `x-amz-copy-source` (`/bucket/key`, percent-encoded) names, its conditions checked. */
export function findCopySource(storage: Storage, request: S3Request): StoredObject {
  const header = headerOf(request, 'x-amz-copy-source') ?? '';
  const path = decodeSource(header).replace(/^\//, '');
  const slash = path.indexOf('/');
  if (slash < 1 || slash === path.length - 1)
    throw new S3Error(
      'InvalidArgument',
      'Copy Source must mention the source bucket and key: /sourcebucket/sourcekey',
      { ArgumentName: 'x-amz-copy-source', ArgumentValue: header },
    );
  const [bucket, key] = [path.slice(0, slash), path.slice(slash + 1)];
  storage.index.requireBucket(bucket);
  const object = storage.index.find(bucket, key);
  if (!object) throw noSuchKey(key);
  checkReadConditions(request, object, 'x-amz-copy-source-');
  return object;
}

function decodeSource(header: string): string {
  try {
    return decodeURIComponent(header);
  } catch {
    // decodeURIComponent has one failure: octets that are not percent-encoded UTF-8.
    throw new S3Error('InvalidArgument', 'The copy source is not percent-encoded UTF-8.');
  }
}
