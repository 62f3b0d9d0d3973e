import { createHmac, createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { S3Error } from './s3Error.ts';
import type { S3Request } from './s3Request.ts';

export type Credentials = { accessKeyId: string; secretAccessKey: string };

/** What a verified signature says about the body (`x-amz-content-sha256`), and what signs the chunks of a signed one. */
export type Authorization = {
  payload: string;
  signature: string;
  signingKey: KeyObject;
  scope: string;
  signedAt: string;
};

type SignedRequest = Pick<S3Request, 'method' | 'path' | 'query' | 'message'>;
type Claim = {
  accessKeyId: string;
  /** `date/region/service/aws4_request` */
  scope: string;
  signedAt: string;
  signedHeaders: string[];
  signature: string;
  payload: string;
};

const ALGORITHM = 'AWS4-HMAC-SHA256';
// S3 refuses header-signed requests that are more than 15 minutes off (RequestTimeTooSkewed).
const MAX_SKEW_MS = 15 * 60_000;
// The longest that a pre-signed URL may be good for: 7 days (S3 user guide, "Limiting presigned URL capabilities").
const MAX_EXPIRES_SECONDS = 604_800;

export const sha256Hex = (content: string) => hash('sha256', content);
const hmac = (key: Buffer | KeyObject | string, content: string) => createHmac('sha256', key).update(content);

/** The key that signs within a scope (`date/region/service/aws4_request`). */
export function deriveSigningKey(secretAccessKey: string, scope: string): KeyObject {
  let key = Buffer.from(`AWS4${secretAccessKey}`);
  for (const part of scope.split('/')) key = hmac(key, part).digest();
  return createSecretKey(key);
}

export const sign = (key: KeyObject, stringToSign: string) => hmac(key, stringToSign).digest('hex');

/** Verifies Signature Version 4, in the header or in the query, or throws as S3 would answer. */
export function createVerifier(options: { credentials: Credentials; region: string; now: () => number }) {
  const keys = new Map<string, KeyObject>();

  function signingKey(scope: string): KeyObject {
    const kept = keys.get(scope);
    if (kept) return kept;
    const key = deriveSigningKey(options.credentials.secretAccessKey, scope);
    // A scope a day; a clock that is moved about in a test makes no leak.
    if (keys.size > 100) keys.clear();
    keys.set(scope, key);
    return key;
  }

  return function verify(request: SignedRequest): Authorization {
    const claim = readClaim(request, options.now());
    if (claim.accessKeyId !== options.credentials.accessKeyId)
      throw new S3Error('InvalidAccessKeyId', 'The AWS Access Key Id you provided does not exist in our records.', {
        AWSAccessKeyId: claim.accessKeyId,
      });
    const [date, region, service, end, ...rest] = claim.scope.split('/');
    if (service !== 's3' || end !== 'aws4_request' || rest.length > 0 || date !== claim.signedAt.slice(0, 8))
      throw new S3Error('AuthorizationHeaderMalformed', 'The credential scope is not that of a request to S3.');
    if (region !== options.region)
      throw new S3Error(
        'AuthorizationHeaderMalformed',
        `The authorization header is malformed; the region '${region}' is wrong; expecting '${options.region}'`,
        { Region: options.region },
      );
    checkSignedHeaders(request.message, claim.signedHeaders);
    const canonical = canonicalRequest(request, claim);
    const key = signingKey(claim.scope);
    const stringToSign = `${ALGORITHM}\n${claim.signedAt}\n${claim.scope}\n${sha256Hex(canonical)}`;
    if (!equalSignatures(sign(key, stringToSign), claim.signature))
      throw new S3Error(
        'SignatureDoesNotMatch',
        'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
        {
          AWSAccessKeyId: claim.accessKeyId,
          StringToSign: stringToSign,
          SignatureProvided: claim.signature,
          CanonicalRequest: canonical,
        },
      );
    return {
      payload: claim.payload,
      signature: claim.signature,
      signingKey: key,
      scope: claim.scope,
      signedAt: claim.signedAt,
    };
  };
}

export function equalSignatures(expected: string, given: string): boolean {
  const left = Buffer.from(expected);
  const right = Buffer.from(given);
  return left.length === right.length && timingSafeEqual(left, right);
}

function readClaim(request: SignedRequest, now: number): Claim {
  const header = request.message.headers.authorization;
  const inQuery = request.query.has('X-Amz-Signature') || request.query.has('X-Amz-Algorithm');
  if (header !== undefined && inQuery)
    throw new S3Error(
      'InvalidArgument',
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
    );
  if (header !== undefined) return readHeader(request.message, header, now);
  if (inQuery) return readQuery(request, now);
  throw new S3Error('AccessDenied', 'Access Denied');
}

function readHeader(message: IncomingMessage, header: string, now: number): Claim {
  const fields = new Map(
    header
      .slice(ALGORITHM.length)
      .split(',')
      .map((field) => {
        const equals = field.indexOf('=');
        return [field.slice(0, equals).trim(), field.slice(equals + 1).trim()] as const;
      }),
  );
  const credential = fields.get('Credential');
  const signedHeaders = fields.get('SignedHeaders');
  const signature = fields.get('Signature');
  if (!header.startsWith(`${ALGORITHM} `) || !credential || !signedHeaders || !signature)
    throw new S3Error('AuthorizationHeaderMalformed', 'The authorization header that you provided is not valid.');
  const signedAt = message.headers['x-amz-date'];
  const time = typeof signedAt === 'string' ? timeOf(signedAt) : undefined;
  if (typeof signedAt !== 'string' || time === undefined)
    throw new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  if (Math.abs(now - time) > MAX_SKEW_MS)
    throw new S3Error(
      'RequestTimeTooSkewed',
      'The difference between the request time and the current time is too large.',
      { RequestTime: signedAt, ServerTime: new Date(now).toISOString(), MaxAllowedSkewMilliseconds: MAX_SKEW_MS },
    );
  const payload = message.headers['x-amz-content-sha256'];
  if (typeof payload !== 'string')
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  return { ...splitCredential(credential), signedAt, signedHeaders: signedHeaders.split(';'), signature, payload };
}

function readQuery({ query, message }: SignedRequest, now: number): Claim {
  const credential = query.get('X-Amz-Credential');
  const signedAt = query.get('X-Amz-Date');
  const expires = query.get('X-Amz-Expires');
  const signedHeaders = query.get('X-Amz-SignedHeaders');
  const signature = query.get('X-Amz-Signature');
  const time = timeOf(signedAt ?? '');
  if (
    query.get('X-Amz-Algorithm') !== ALGORITHM ||
    !credential ||
    !signedAt ||
    !expires ||
    !signedHeaders ||
    !signature
  )
    throw new S3Error(
      'AuthorizationQueryParametersError',
      'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.',
    );
  if (time === undefined)
    throw new S3Error(
      'AuthorizationQueryParametersError',
      "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
    );
  const expiresSeconds = Number(expires);
  if (!/^\d+$/.test(expires) || expiresSeconds < 1 || expiresSeconds > MAX_EXPIRES_SECONDS)
    throw new S3Error(
      'AuthorizationQueryParametersError',
      'X-Amz-Expires must be a number between 1 and 604800 (in seconds): a week at most',
    );
  if (now < time - MAX_SKEW_MS) throw new S3Error('AccessDenied', 'Request is not valid yet');
  if (now > time + expiresSeconds * 1000)
    throw new S3Error('AccessDenied', 'Request has expired', {
      'X-Amz-Expires': expires,
      Expires: new Date(time + expiresSeconds * 1000).toISOString(),
      ServerTime: new Date(now).toISOString(),
    });
  const hash = query.get('X-Amz-Content-Sha256') ?? message.headers['x-amz-content-sha256'];
  return {
    ...splitCredential(credential),
    signedAt,
    signedHeaders: signedHeaders.split(';'),
    signature,
    payload: typeof hash === 'string' ? hash : 'UNSIGNED-PAYLOAD',
  };
}

function splitCredential(credential: string): { accessKeyId: string; scope: string } {
  const slash = credential.indexOf('/');
  return { accessKeyId: credential.slice(0, Math.max(slash, 0)), scope: credential.slice(slash + 1) };
}

/** `20260115T103000Z` in milliseconds. */
function timeOf(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time) ? undefined : time;
}

/** Host, and every `x-amz-` header that changes what the request means, must be under the signature. */
function checkSignedHeaders(message: IncomingMessage, signedHeaders: string[]): void {
  const unsigned = Object.keys(message.headers).filter(
    (name) => (name === 'host' || name.startsWith('x-amz-')) && !signedHeaders.includes(name),
  );
  // A payload hash is bound by being in the canonical request.
  const missing = unsigned.filter((name) => name !== 'x-amz-content-sha256');
  if (missing.length > 0)
    throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', {
      HeadersNotSigned: missing.join(', '),
    });
}

function canonicalRequest(request: SignedRequest, claim: Claim): string {
  const query = [...request.query]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    // By code point of the encoded name, as the specification orders them; names are never repeated.
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
  const headers = claim.signedHeaders
    .map((name) => {
      const values = request.message.headersDistinct[name] ?? [];
      return `${name}:${values.map((value) => value.trim().replace(/ +/g, ' ')).join(',')}\n`;
    })
    .join('');
  const path = request.path.split('/').map(uriEncode).join('/');
  return `${request.method}\n${path}\n${query}\n${headers}\n${claim.signedHeaders.join(';')}\n${claim.payload}`;
}

/** RFC 3986: everything but unreserved characters, in capital hex. */
export const uriEncode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
