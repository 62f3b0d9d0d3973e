import type { BatchHead } from '../../domain/batch.ts';
import { InputRejected } from '../../domain/errors.ts';
import { countLines, FailedLines } from '../../domain/lines/lineIndex.ts';
import { FileMissing, type FileStore } from '../../ports.ts';
import { readRetryLines } from '../readRetryLines.ts';

/** What a retry runs of its input, how many lines that are, and how many results it takes over beside them. */
export type Selection = { only: FailedLines; failed: number; kept: number };

/** By the index of the batch that is repeated. Undefined where the batch repeats none: then every line is meant. */
export async function selectFailed(
  files: Pick<FileStore, 'readSmall'>,
  { retry, retryOf }: Pick<BatchHead, 'retry' | 'retryOf'>,
): Promise<Selection | undefined> {
  if (retry === undefined) return undefined;
  try {
    const index = await readRetryLines(files, retry);
    const { output, errors } = countLines(index);
    return { only: new FailedLines(index), failed: errors, kept: retry.output === undefined ? 0 : output };
  } catch (error) {
    if (!(error instanceof FileMissing)) throw error;
    const message = `The files of ${retryOf} have been deleted, so nothing says any more which of its lines failed.`;
    throw new InputRejected('input_file_changed', message, { cause: error });
  }
}
