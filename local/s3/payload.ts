import { createHash } from 'node:crypto';
import { decodeAwsChunked } from './awsChunked.ts';
import {
  CHECKSUM_ALGORITHMS,
  CHECKSUM_BYTES,
  type ChecksumAlgorithm,
  checksumHeader,
  createDigest,
} from './checksums.ts';
import { createEtag } from './etag.ts';
import { S3Error } from './s3Error.ts';
import { headerOf, type S3Request } from './s3Request.ts';

// The largest body of one PUT (S3 user guide, "Uploading objects"): 5 GiB.
const MAX_PUT_BYTES = 5 * 1024 ** 3;

/** What is known of a body once it was read to its end and found whole. */
export type PayloadDigests = { etag: string; checksum?: { algorithm: ChecksumAlgorithm; value: string } };

/**
 * The body of a request, framing taken off. The iteration throws at its end unless length, signature and checksums hold,
 * so nothing may be made of the bytes before it has ended; `digests` is there after that.
 */
export type Payload = AsyncIterable<Uint8Array> & { digests(): PayloadDigests };

/** `checksum`: the algorithm to compute even if the client sends no value, where an upload was opened with one. */
export async function openPayload(request: S3Request): Promise<Payload> {
  const { message, authorization } = request;
  const mode = readMode(authorization.payload);
  const length = readLength(request, mode.kind === 'chunked');
  const contentMd5 = readContentMd5(request);
  const wanted = readChecksum(request);
  const etag = createEtag();
  const sha256 = mode.kind === 'hashed' ? createHash('sha256') : undefined;
  const md5 = contentMd5 === undefined ? undefined : createHash('md5');
  const checksum = wanted && (await createDigest(wanted.algorithm));
  const trailers = new Map<string, string>();
  let result: PayloadDigests | undefined;

  async function* chunks(): AsyncGenerator<Uint8Array> {
    const source =
      mode.kind === 'chunked'
        ? decodeAwsChunked(message, {
            ...(mode.signed ? { signed: authorization } : {}),
            onTrailer: (name, value) => trailers.set(name, value),
          })
        : message;
    let bytes = 0;
    for await (const chunk of source as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > length) throw incomplete();
      etag.update(chunk);
      sha256?.update(chunk);
      md5?.update(chunk);
      checksum?.update(chunk);
      yield chunk;
    }
    if (bytes !== length) throw incomplete();
    result = finish();
  }

  function finish(): PayloadDigests {
    const calculatedMd5 = md5?.digest('base64');
    if (contentMd5 !== undefined && calculatedMd5 !== undefined && contentMd5 !== calculatedMd5)
      throw new S3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.', {
        ExpectedDigest: contentMd5,
        CalculatedDigest: calculatedMd5,
      });
    const sha256Hex = sha256?.digest('hex');
    if (sha256Hex !== undefined && sha256Hex !== authorization.payload)
      throw new S3Error(
        'XAmzContentSHA256Mismatch',
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
        { ClientComputedContentSHA256: authorization.payload },
      );
    if (!wanted || !checksum) return { etag: etag.end() };
    const value = checksum.base64();
    const given = wanted.value ?? trailers.get(checksumHeader(wanted.algorithm));
    if (given === undefined)
      throw new S3Error(
        'MalformedTrailerError',
        'The request contained trailing data that was not well-formed or did not conform to our published schema.',
      );
    requireChecksumShape(wanted.algorithm, given);
    if (given !== value)
      throw new S3Error('BadDigest', `The ${wanted.algorithm} you specified did not match the calculated checksum.`);
    return { etag: etag.end(), checksum: { algorithm: wanted.algorithm, value } };
  }

  return {
    [Symbol.asyncIterator]: chunks,
    digests() {
      if (!result) throw new Error('The payload was not read to its end.');
      return result;
    },
  };
}

/** A small document's text, verified. */
export async function readDocument(request: S3Request, maxBytes: number): Promise<string> {
  const payload = await openPayload(request);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of payload) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new S3Error('InvalidRequest', `The document is larger than ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function readMode(payload: string): { kind: 'plain' | 'hashed' } | { kind: 'chunked'; signed: boolean } {
  switch (payload) {
    case 'UNSIGNED-PAYLOAD':
      return { kind: 'plain' };
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return { kind: 'chunked', signed: false };
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return { kind: 'chunked', signed: true };
    default:
      if (/^[0-9a-f]{64}$/.test(payload)) return { kind: 'hashed' };
      throw new S3Error(
        'InvalidArgument',
        'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
      );
  }
}

/** Length of the content itself. */
function readLength(request: S3Request, chunked: boolean): number {
  const decoded = headerOf(request, 'x-amz-decoded-content-length');
  // A request without a body has no length either (an empty POST).
  const text = chunked ? decoded : (request.message.headers['content-length'] ?? (hasBody(request) ? undefined : '0'));
  if (text === undefined) throw new S3Error('MissingContentLength', 'You must provide the Content-Length HTTP header.');
  if (!/^\d+$/.test(text)) throw new S3Error('InvalidArgument', 'The content length is not a number.');
  const length = Number(text);
  if (length > MAX_PUT_BYTES)
    throw new S3Error('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size', {
      ProposedSize: length,
      MaxSizeAllowed: MAX_PUT_BYTES,
    });
  return length;
}

const hasBody = (request: S3Request) =>
  request.message.headers['transfer-encoding'] !== undefined || request.method === 'PUT';

function readContentMd5(request: S3Request): string | undefined {
  const value = request.message.headers['content-md5'];
  if (typeof value !== 'string') return undefined;
  if (Buffer.from(value, 'base64').length !== 16 || !/^[A-Za-z0-9+/]{22}==$/.test(value))
    throw new S3Error('InvalidDigest', 'The Content-MD5 you specified was invalid.');
  return value;
}

/** The checksum that the client sends, now (`value`) or in a trailer. */
function readChecksum(request: S3Request): { algorithm: ChecksumAlgorithm; value?: string } | undefined {
  const announced = (headerOf(request, 'x-amz-trailer') ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  const sent = CHECKSUM_ALGORITHMS.flatMap((algorithm) => {
    const value = headerOf(request, checksumHeader(algorithm));
    if (value !== undefined) {
      requireChecksumShape(algorithm, value);
      return [{ algorithm, value }];
    }
    return announced.includes(checksumHeader(algorithm)) ? [{ algorithm }] : [];
  });
  if (sent.length > 1)
    throw new S3Error(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  return sent[0];
}

function requireChecksumShape(algorithm: ChecksumAlgorithm, value: string): void {
  const bytes = Buffer.from(value, 'base64');
  if (bytes.length !== CHECKSUM_BYTES[algorithm] || bytes.toString('base64') !== value)
    throw new S3Error('InvalidRequest', `Value for ${checksumHeader(algorithm)} header is invalid.`);
}

const incomplete = () =>
  new S3Error('IncompleteBody', 'You did not provide the number of bytes specified by the Content-Length HTTP header');
