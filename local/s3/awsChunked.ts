import { createHash } from 'node:crypto';
import { S3Error } from './s3Error.ts';
import { type Authorization, equalSignatures, sha256Hex, sign } from './signature.ts';

// A chunk's header is a hex length and a 64-digit signature; a trailer is one checksum and one signature.
const MAX_LINE_BYTES = 4096;
const EMPTY_SHA256 = sha256Hex('');

/**
 * Takes the framing of `aws-chunked` off a body, without holding it: `length[;chunk-signature=…]\r\n data \r\n …`, then
 * the trailers, handed to `onTrailer`. With `signed`, each chunk's signature is verified at its end, so what was yielded
 * counts only once the iteration has ended without an error.
 */
export async function* decodeAwsChunked(
  source: AsyncIterable<Uint8Array>,
  options: { signed?: Authorization; onTrailer: (name: string, value: string) => void },
): AsyncGenerator<Uint8Array> {
  const input = new Input(source);
  const chain = options.signed && new SignatureChain(options.signed);
  for (;;) {
    const header = /^([0-9a-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?$/i.exec(await input.line());
    if (!header?.[1]) throw incomplete();
    const length = Number.parseInt(header[1], 16);
    const hash = chain && createHash('sha256');
    for (let left = length; left > 0; ) {
      const data = await input.take(left);
      left -= data.length;
      hash?.update(data);
      yield data;
    }
    chain?.verifyChunk(hash?.digest('hex') ?? EMPTY_SHA256, header[2]);
    if (length === 0) break;
    if ((await input.line()) !== '') throw incomplete();
  }
  let trailers = '';
  for (let line = await input.line(); line !== ''; line = await input.line()) {
    const colon = line.indexOf(':');
    if (colon < 0) throw malformedTrailer();
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === 'x-amz-trailer-signature') chain?.verifyTrailer(trailers, value);
    else {
      trailers += `${name}:${value}\n`;
      options.onTrailer(name, value);
    }
  }
  if (trailers !== '' && chain && !chain.trailerVerified) throw malformedTrailer();
  await input.end();
}

/** Each chunk is signed over the signature before it; the first over the request's own. */
class SignatureChain {
  trailerVerified = false;
  readonly #authorization: Authorization;
  #previous: string;

  constructor(authorization: Authorization) {
    this.#authorization = authorization;
    this.#previous = authorization.signature;
  }

  verifyChunk(sha256: string, signature: string | undefined): void {
    this.#verify('AWS4-HMAC-SHA256-PAYLOAD', `${EMPTY_SHA256}\n${sha256}`, signature ?? '');
  }

  verifyTrailer(trailers: string, signature: string): void {
    this.#verify('AWS4-HMAC-SHA256-TRAILER', sha256Hex(trailers), signature);
    this.trailerVerified = true;
  }

  #verify(kind: string, content: string, signature: string): void {
    const { signingKey, signedAt, scope } = this.#authorization;
    const expected = sign(signingKey, `${kind}\n${signedAt}\n${scope}\n${this.#previous}\n${content}`);
    if (!equalSignatures(expected, signature))
      throw new S3Error(
        'SignatureDoesNotMatch',
        'The chunk signature we calculated does not match the signature you provided.',
      );
    this.#previous = expected;
  }
}

/** Bytes of a stream, by line or by count. */
class Input {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next line without its `\r\n`. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf('\r\n');
      if (end >= 0) {
        const line = this.#rest.toString('latin1', 0, end);
        this.#rest = this.#rest.subarray(end + 2);
        return line;
      }
      if (this.#rest.length > MAX_LINE_BYTES) throw incomplete();
      const more = await this.#next();
      if (!more) throw incomplete();
      this.#rest = this.#rest.length === 0 ? more : Buffer.concat([this.#rest, more]);
    }
  }

  /** One to `limit` bytes. */
  async take(limit: number): Promise<Buffer> {
    if (this.#rest.length === 0) {
      const more = await this.#next();
      if (!more) throw incomplete();
      this.#rest = more;
    }
    const data = this.#rest.subarray(0, limit);
    this.#rest = this.#rest.subarray(data.length);
    return data;
  }

  /** Nothing may follow. */
  async end(): Promise<void> {
    if (this.#rest.length > 0 || (await this.#next())) throw incomplete();
  }

  async #next(): Promise<Buffer | undefined> {
    for (;;) {
      const { done, value } = await this.#source.next();
      if (done) return undefined;
      if (value.length > 0) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
  }
}

const incomplete = () =>
  new S3Error('IncompleteBody', 'The request body terminated unexpectedly, or is not framed as aws-chunked.');

const malformedTrailer = () =>
  new S3Error(
    'MalformedTrailerError',
    'The request contained trailing data that was not well-formed or did not conform to our published schema.',
  );
