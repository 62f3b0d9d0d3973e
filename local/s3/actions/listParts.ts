import { type Action, answerXml, checksumContent } from '../action.ts';
import { findUpload } from './findUpload.ts';
import { readCount } from './readCount.ts';

export const listParts: Action = (storage, request, response) => {
  const upload = findUpload(storage, request);
  const maxParts = readCount(request, 'max-parts', 1000);
  const marker = readCount(request, 'part-number-marker', 0, 10_000);
  const found = storage.index.parts(upload.uploadId, marker, maxParts + 1);
  const parts = found.slice(0, maxParts);
  answerXml(response, 'ListPartsResult', {
    Bucket: request.bucket,
    Key: request.key,
    UploadId: upload.uploadId,
    PartNumberMarker: marker,
    NextPartNumberMarker: parts.at(-1)?.partNumber ?? marker,
    MaxParts: maxParts,
    IsTruncated: found.length > parts.length,
    ...(upload.checksumAlgorithm ? { ChecksumAlgorithm: upload.checksumAlgorithm } : {}),
    ...(upload.checksumType ? { ChecksumType: upload.checksumType } : {}),
    StorageClass: 'STANDARD',
    Part: parts.map((part) => ({
      PartNumber: part.partNumber,
      LastModified: new Date(part.modifiedMs).toISOString(),
      ETag: `"${part.etag}"`,
      Size: part.bytes,
      ...checksumContent(part.checksum),
    })),
  });
};
