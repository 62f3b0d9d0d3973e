import { createCipheriv } from 'node:crypto';

/** A content's ETag, made as the content passes. */
export type RunningEtag = { update(chunk: Uint8Array): void; end(): string };

/** No secret: it only has to be the same in each run. */
const KEY = Buffer.alloc(16);
const NONCE = Buffer.alloc(12);

/**
 * The ETag of a content is its GMAC (128 bits under a key that all know), not its MD5, which takes some thirty times as
 * long: S3 promises an MD5 only for objects that are neither encrypted by KMS nor sent in parts, and else a value that goes
 * by the content (API reference, "Object"). So it tells contents apart here too, and is the same each time; a client that
 * takes it for an MD5 is shown its mistake. Only who wants two contents of one ETag could make them.
 */
export function createEtag(): RunningEtag {
  const mac = createCipheriv('aes-128-gcm', KEY, NONCE);
  return {
    update: (chunk) => {
      mac.setAAD(chunk);
    },
    end() {
      mac.final();
      return mac.getAuthTag().toString('hex');
    },
  };
}

/** Of an object made of parts: of their ETags, with their number. */
export function multipartEtag(parts: readonly { etag: string }[]): string {
  const whole = createEtag();
  for (const { etag } of parts) whole.update(Buffer.from(etag, 'hex'));
  return `${whole.end()}-${parts.length}`;
}
