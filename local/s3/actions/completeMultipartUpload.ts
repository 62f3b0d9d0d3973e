import { randomUUID } from 'node:crypto';
import { type Action, answerXml, checksumContent, newObject, type Storage } from '../action.ts';
import type { Piece } from '../bodyFiles.ts';
import { type Checksum, checksumElement, checksumHeader, compositeChecksum, createDigest } from '../checksums.ts';
import { writeConditions } from '../conditions.ts';
import { multipartEtag } from '../etag.ts';
import type { Part, Upload } from '../objectIndex.ts';
import { readDocument } from '../payload.ts';
import { noSuchUpload, S3Error } from '../s3Error.ts';
import { headerOf } from '../s3Request.ts';
import { childText, type XmlElement } from '../xml.ts';
import { parseDocument } from './document.ts';
import { findUpload } from './findUpload.ts';

// Every part but the last (S3 user guide, "Multipart upload limits"): 5 MiB.
const MIN_PART_BYTES = 5 * 1024 * 1024;
// 10,000 parts with an ETag and checksums each.
const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;

/** Makes the object out of the parts' files as they are: nothing is copied. */
export const completeMultipartUpload: Action = async (storage, request, response) => {
  const allow = writeConditions(request);
  const upload = findUpload(storage, request);
  const document = parseDocument('CompleteMultipartUpload', await readDocument(request, MAX_DOCUMENT_BYTES));
  const parts = selectParts(storage, upload, document);
  let bytes = 0;
  const pieces: Piece[] = [];
  for (const part of parts) {
    if (part.bytes > 0) pieces.push({ bodyId: part.bodyId, start: bytes, bytes: part.bytes });
    bytes += part.bytes;
  }
  const declared = headerOf(request, 'x-amz-mp-object-size');
  if (declared !== undefined && Number(declared) !== bytes)
    throw new S3Error(
      'InvalidRequest',
      `The provided 'x-amz-mp-object-size' header value ${declared} does not match what was computed: ${bytes}`,
    );
  const checksum = await computeChecksum(storage, upload, parts, pieces, bytes);
  const expected = checksum && headerOf(request, checksumHeader(checksum.algorithm));
  if (checksum && expected !== undefined && expected !== checksum.value)
    throw new S3Error('BadDigest', `The ${checksum.algorithm} you specified did not match the calculated checksum.`);
  const etag = multipartEtag(parts);
  const object = newObject(storage, randomUUID(), bytes, etag, upload.headers, checksum);
  // The document was awaited: a second Complete or an Abort may have ended the upload meanwhile.
  const stillOpen = () => {
    if (!storage.index.findUpload(upload.uploadId)) throw noSuchUpload(upload.uploadId);
  };
  const freed = storage.index.put(
    request,
    object,
    pieces,
    (existing) => {
      stillOpen();
      allow(existing);
    },
    upload,
  );
  await storage.bodies.remove(freed);
  answerXml(response, 'CompleteMultipartUploadResult', {
    Location: `http://${request.message.headers.host}/${request.bucket}/${request.key}`,
    Bucket: request.bucket,
    Key: request.key,
    ETag: `"${etag}"`,
    ...checksumContent(checksum),
    ...(checksum ? { ChecksumType: checksum.type } : {}),
  });
};

/** The parts that the client names, as they are stored. */
function selectParts(storage: Storage, upload: Upload, document: XmlElement): Part[] {
  const stored = new Map(storage.index.parts(upload.uploadId, 0, 10_000).map((part) => [part.partNumber, part]));
  const named = document.children.filter((child) => child.name === 'Part');
  if (named.length === 0) throw new S3Error('MalformedXML', 'You must specify at least one part');
  let before = 0;
  const parts = named.map((element) => {
    const partNumber = Number(childText(element, 'PartNumber'));
    const etag = (childText(element, 'ETag') ?? '').replace(/^"(.*)"$/, '$1');
    const part = stored.get(partNumber);
    if (!part || part.etag !== etag)
      throw new S3Error(
        'InvalidPart',
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
        { UploadId: upload.uploadId, PartNumber: partNumber, ETag: etag },
      );
    if (partNumber <= before)
      throw new S3Error(
        'InvalidPartOrder',
        'The list of parts was not in ascending order. Parts must be ordered by part number.',
      );
    before = partNumber;
    checkPartChecksum(upload, part, element);
    return part;
  });
  const small = parts.slice(0, -1).find((part) => part.bytes < MIN_PART_BYTES);
  if (small)
    throw new S3Error('EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size', {
      ProposedSize: small.bytes,
      MinSizeAllowed: MIN_PART_BYTES,
      PartNumber: small.partNumber,
      ETag: small.etag,
    });
  return parts;
}

function checkPartChecksum(upload: Upload, part: Part, element: XmlElement): void {
  if (!part.checksum) return;
  const given = childText(element, checksumElement(part.checksum.algorithm));
  if (given === undefined && upload.checksumType === 'COMPOSITE')
    throw new S3Error(
      'InvalidRequest',
      `The upload was created using a ${part.checksum.algorithm.toLowerCase()} checksum. The complete request must include the checksum for each part. It was missing for part ${part.partNumber} in the request.`,
    );
  if (given !== undefined && given !== part.checksum.value)
    throw new S3Error(
      'InvalidPart',
      "One or more of the specified parts could not be found. The part's checksum may not match.",
      {
        UploadId: upload.uploadId,
        PartNumber: part.partNumber,
      },
    );
}

/** COMPOSITE from the parts' checksums; FULL_OBJECT by reading the parts once more. */
async function computeChecksum(
  storage: Storage,
  upload: Upload,
  parts: Part[],
  pieces: Piece[],
  bytes: number,
): Promise<Checksum | undefined> {
  const { checksumAlgorithm: algorithm, checksumType: type } = upload;
  if (!algorithm || !type) return undefined;
  if (type === 'COMPOSITE') {
    const values = parts.map((part) => part.checksum?.value ?? '');
    return { algorithm, type, value: await compositeChecksum(algorithm, values) };
  }
  const digest = await createDigest(algorithm);
  using _held = storage.bodies.hold(pieces);
  for await (const chunk of storage.bodies.read(pieces, 0, bytes)) digest.update(chunk);
  return { algorithm, type, value: digest.base64() };
}
