import { S3Error } from '../s3Error.ts';
import type { S3Request } from '../s3Request.ts';

/** A count in the query; more than `most` is taken as `most`, as S3 does. */
export function readCount(request: S3Request, name: string, fallback: number, most = 1000): number {
  const text = request.query.get(name);
  if (text === undefined || text === '') return fallback;
  if (!/^\d{1,10}$/.test(text))
    throw new S3Error('InvalidArgument', `Provided ${name} not an integer or within integer range`, {
      ArgumentName: name,
      ArgumentValue: text,
    });
  return Math.min(Number(text), most);
}
