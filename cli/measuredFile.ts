import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

export type MeasuredFile = { bytes: number; sha256: string; lines: number };

// Larger reads cost memory and save nothing that could be measured.
export const READ_BYTES = 1024 * 1024;

/** Reads a file once, as a stream; undefined where there is none. A last line without newline counts as one. */
export async function measureFile(path: string): Promise<MeasuredFile | undefined> {
  const hash = createHash('sha256');
  let bytes = 0;
  let lines = 0;
  let last: number | undefined;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
      for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, at + 1)) lines++;
      last = chunk.at(-1);
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return { bytes, sha256: hash.digest('hex'), lines: last === undefined || last === 0x0a ? lines : lines + 1 };
}
