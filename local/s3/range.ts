import { S3Error } from './s3Error.ts';

/** Bytes `start`…`end`, end exclusive. */
export type ByteRange = { start: number; end: number };

/**
 * The one range of a `Range` header, or undefined for the whole object: no header, a form that is not understood or
 * several ranges (S3 then answers 200 with everything). Throws InvalidRange where no byte of it is there.
 */
export function parseRange(header: string | undefined, bytes: number): ByteRange | undefined {
  const match = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? '');
  if (!header || !match) return undefined;
  const [, first, last] = match;
  if (!first && !last) return undefined;
  const start = first ? Number(first) : Math.max(bytes - Number(last), 0);
  const end = first && last ? Math.min(Number(last) + 1, bytes) : bytes;
  if (first && last && Number(last) < Number(first)) return undefined;
  if (start >= bytes || start >= end)
    throw new S3Error(
      'InvalidRange',
      'The requested range is not satisfiable',
      { RangeRequested: header, ActualObjectSize: bytes },
      { 'content-range': `bytes */${bytes}` },
    );
  return { start, end };
}
