import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { createCRC32, createCRC64 } from 'hash-wasm';

export const CHECKSUM_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

/** A checksum as S3 keeps it. COMPOSITE is that of a multipart object: a checksum of its parts' checksums, `…-<parts>`. */
export type Checksum = { algorithm: ChecksumAlgorithm; value: string; type: 'FULL_OBJECT' | 'COMPOSITE' };

export const checksumHeader = (algorithm: ChecksumAlgorithm) => `x-amz-checksum-${algorithm.toLowerCase()}`;

/** Name of the element that carries it in XML: `ChecksumCRC32`. */
export const checksumElement = (algorithm: ChecksumAlgorithm) => `Checksum${algorithm}`;

export const CHECKSUM_BYTES: Record<ChecksumAlgorithm, number> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
};

export type Digest = { update(chunk: Uint8Array): void; base64(): string };

/** A running checksum. */
export async function createDigest(algorithm: ChecksumAlgorithm): Promise<Digest> {
  switch (algorithm) {
    case 'CRC32': {
      let state = 0;
      return {
        update: (chunk) => {
          state = crc32(chunk, state);
        },
        base64: () => {
          const bytes = Buffer.alloc(4);
          bytes.writeUInt32BE(state);
          return bytes.toString('base64');
        },
      };
    }
    // Polynomials as hash-wasm wants them, reflected: Castagnoli, and that of the NVMe base specification (CRC-64/NVME).
    case 'CRC32C':
      return ofWasm(await createCRC32(0x82f63b78));
    case 'CRC64NVME':
      return ofWasm(await createCRC64('9a6c9329ac4bc9b5'));
    case 'SHA1':
    case 'SHA256': {
      const hash = createHash(algorithm);
      return {
        update: (chunk) => {
          hash.update(chunk);
        },
        base64: () => hash.digest('base64'),
      };
    }
  }
}

function ofWasm(hasher: Awaited<ReturnType<typeof createCRC32>>): Digest {
  hasher.init();
  return {
    update: (chunk) => {
      hasher.update(chunk);
    },
    base64: () => Buffer.from(hasher.digest('binary')).toString('base64'),
  };
}

/** The COMPOSITE checksum of parts. */
export async function compositeChecksum(algorithm: ChecksumAlgorithm, parts: string[]): Promise<string> {
  const digest = await createDigest(algorithm);
  for (const part of parts) digest.update(Buffer.from(part, 'base64'));
  return `${digest.base64()}-${parts.length}`;
}
