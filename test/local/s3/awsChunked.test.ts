import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeAwsChunked } from '../../../local/s3/awsChunked.ts';
import { type Authorization, deriveSigningKey } from '../../../local/s3/signature.ts';

async function* inSlices(bytes: Buffer, sizes: number[]): AsyncGenerator<Buffer> {
  let from = 0;
  for (const size of sizes) {
    yield bytes.subarray(from, from + size);
    from += size;
  }
  yield bytes.subarray(from);
}

async function decode(source: AsyncIterable<Uint8Array>, signed?: Authorization) {
  const trailers: [string, string][] = [];
  const chunks: Uint8Array[] = [];
  const onTrailer = (name: string, value: string) => void trailers.push([name, value]);
  for await (const chunk of decodeAwsChunked(source, signed ? { signed, onTrailer } : { onTrailer }))
    chunks.push(chunk);
  return { body: Buffer.concat(chunks), trailers };
}

/** The examples of "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks". */
const documented = (seedSignature: string): Authorization => ({
  payload: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  signature: seedSignature,
  scope: '20130524/us-east-1/s3/aws4_request',
  signedAt: '20130524T000000Z',
  signingKey: deriveSigningKey('wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', '20130524/us-east-1/s3/aws4_request'),
});

const framed = (signatures: [string, string, string], trailer = '') =>
  Buffer.from(
    `10000;chunk-signature=${signatures[0]}\r\n${'a'.repeat(65536)}\r\n` +
      `400;chunk-signature=${signatures[1]}\r\n${'a'.repeat(1024)}\r\n` +
      `0;chunk-signature=${signatures[2]}\r\n${trailer}\r\n`,
  );

const PLAIN = {
  seed: '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
  chunks: [
    'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
    '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
    'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
  ] as [string, string, string],
};

describe('the aws-chunked framing', () => {
  it('comes off whatever the borders of the network chunks are', async () => {
    const data = fc.uint8Array({ minLength: 1, maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(fc.array(data, { maxLength: 5 }), fc.array(fc.nat(20)), async (chunks, sizes) => {
        const wire = Buffer.concat([
          ...chunks.flatMap((chunk) => [
            Buffer.from(`${chunk.length.toString(16)}\r\n`),
            Buffer.from(chunk),
            Buffer.from('\r\n'),
          ]),
          Buffer.from('0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n'),
        ]);
        const { body, trailers } = await decode(inSlices(wire, sizes));
        expect(body.equals(Buffer.concat(chunks))).toBe(true);
        expect(trailers).toEqual([['x-amz-checksum-crc32', 'AAAAAA==']]);
      }),
    );
  });

  it('accepts the signed example of the documentation', async () => {
    const { body } = await decode(inSlices(framed(PLAIN.chunks), [70]), documented(PLAIN.seed));
    expect(body.length).toBe(66560);
  });

  it('accepts the signed example with a trailer', async () => {
    const wire = framed(
      [
        'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
        '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
        '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
      ],
      'x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n',
    );
    const seed = documented('106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e');
    const { trailers } = await decode(inSlices(wire, []), seed);
    expect(trailers).toEqual([['x-amz-checksum-crc32c', 'sOO8/Q==']]);
  });

  it('refuses a chunk that was changed on its way', async () => {
    const wire = framed(PLAIN.chunks);
    wire[5000] = 0x62;
    await expect(decode(inSlices(wire, []), documented(PLAIN.seed))).rejects.toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
  });

  it('refuses unsigned chunks where signed ones are announced', async () => {
    const wire = Buffer.from('1\r\na\r\n0\r\n\r\n');
    await expect(decode(inSlices(wire, []), documented(PLAIN.seed))).rejects.toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
  });

  it.each([
    ['a body that ends early', '5\r\nab'],
    ['a body without its last chunk', '2\r\nab\r\n'],
    ['a length that is no number', 'xyz\r\nab\r\n0\r\n\r\n'],
    ['data longer than its length', '1\r\nab\r\n0\r\n\r\n'],
    ['bytes behind the end', '1\r\na\r\n0\r\n\r\nmore'],
    ['a line without end', 'a'.repeat(10_000)],
  ])('refuses %s', async (_, wire) => {
    await expect(decode(inSlices(Buffer.from(wire), []))).rejects.toMatchObject({ code: 'IncompleteBody' });
  });
});
