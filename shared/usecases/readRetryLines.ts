import type { RetrySource } from '../domain/batch.ts';
import { FileMissing, type FileStore } from '../ports.ts';

/** The index of the batch that a retry repeats: about a megabyte for a million lines. Throws `FileMissing`. */
export async function readRetryLines(files: Pick<FileStore, 'readSmall'>, { lines }: RetrySource): Promise<Uint8Array> {
  const bytes = await files.readSmall(lines.key, lines.bytes);
  if (!bytes) throw new FileMissing(`The index ${lines.key} is gone`);
  return bytes;
}
