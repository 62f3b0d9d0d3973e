import type { Storage } from '../action.ts';
import type { Upload } from '../objectIndex.ts';
import { noSuchUpload, S3Error } from '../s3Error.ts';
import type { S3Request } from '../s3Request.ts';

// S3 API reference, UploadPart: part numbers 1 to 10,000.
const MAX_PART_NUMBER = 10_000;

/** The upload that `uploadId` names, if it is one to this key. */
export function findUpload(storage: Storage, request: S3Request): Upload {
  const uploadId = request.query.get('uploadId') ?? '';
  const upload = storage.index.findUpload(uploadId);
  if (!upload || upload.bucket !== request.bucket || upload.key !== request.key) throw noSuchUpload(uploadId);
  return upload;
}

export function readPartNumber(request: S3Request): number {
  const text = request.query.get('partNumber') ?? '';
  const partNumber = Number(text);
  if (!/^\d+$/.test(text) || partNumber < 1 || partNumber > MAX_PART_NUMBER)
    throw new S3Error('InvalidArgument', `Part number must be an integer between 1 and ${MAX_PART_NUMBER}, inclusive`, {
      ArgumentName: 'partNumber',
      ArgumentValue: text,
    });
  return partNumber;
}
