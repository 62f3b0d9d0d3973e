import { describe, expect, it } from 'vitest';
import { type ChecksumAlgorithm, createDigest } from '../../../local/s3/checksums.ts';

describe('checksums', () => {
  // The check values of the catalogue of parametrised CRC algorithms, and of FIPS 180: over "123456789".
  it.each<[ChecksumAlgorithm, string]>([
    ['CRC32', 'cbf43926'],
    ['CRC32C', 'e3069283'],
    ['CRC64NVME', 'ae8b14860a799888'],
    ['SHA1', 'f7c3bc1d808e04732adf679965ccc34ca7ae3441'],
    ['SHA256', '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225'],
  ])('%s of "123456789", in pieces', async (algorithm, hex) => {
    const digest = await createDigest(algorithm);
    digest.update(Buffer.from('1234'));
    digest.update(Buffer.from(''));
    digest.update(Buffer.from('56789'));
    expect(Buffer.from(digest.base64(), 'base64').toString('hex')).toBe(hex);
  });
});
