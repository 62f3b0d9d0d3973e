import { createHash } from 'node:crypto';

// 128 bits, as the MD5 has whose form ETags keep.
const ETAG_HEX_DIGITS = 32;

/** A running SHA-256 and the ETag that comes of it. */
export type ContentHash = { update(chunk: Uint8Array): void; end(): { sha256Hex: string; etag: string } };

/**
 * The ETag of a content is the beginning of its SHA-256, not its MD5, which takes twice as long: S3 promises an MD5 only
 * for objects that are neither encrypted by KMS nor sent in parts, and else a value that goes by the content (API
 * reference, "Object"). So it tells contents apart here too, and is the same each time; a client that takes it for an
 * MD5 is shown its mistake.
 */
export function createContentHash(): ContentHash {
  const hash = createHash('sha256');
  return {
    update: (chunk) => {
      hash.update(chunk);
    },
    end() {
      const sha256Hex = hash.digest('hex');
      return { sha256Hex, etag: sha256Hex.slice(0, ETAG_HEX_DIGITS) };
    },
  };
}

/** Of an object made of parts: of their ETags, with their number. */
export function multipartEtag(parts: readonly { etag: string }[]): string {
  const hash = createContentHash();
  for (const { etag } of parts) hash.update(Buffer.from(etag, 'hex'));
  return `${hash.end().etag}-${parts.length}`;
}
