import type { BatchHead } from '../../domain/batch.ts';
import { readLineIndex } from '../../domain/lines/lineIndex.ts';
import type { FileStore } from '../../ports.ts';
import { readRetryLines } from '../readRetryLines.ts';
import type { Progress } from './checkpoint.ts';
import { type ResultEntry, SegmentReader } from './segmentReader.ts';

const CHUNK_BYTES = 1024 * 1024;
const NONE = { key: '', bytes: 0 };

/** The batch that this one repeats has left other files than its record says. Trying again changes nothing. */
class KeptResultsDiffer extends Error {
  override readonly name = 'ResultsInconsistent';
}

/**
 * The results that are in no shard, in line order: the bad lines that Validate has laid down, and, for a retry with
 * `merge`, what the batch before it has completed. `current` is the first of them, undefined at the end.
 */
export class SideResults {
  readonly #invalid: SegmentReader;
  readonly #kept: SegmentReader;
  readonly #progress: Progress;

  private constructor(invalid: SegmentReader, kept: SegmentReader, progress: Progress) {
    this.#invalid = invalid;
    this.#kept = kept;
    this.#progress = progress;
  }

  /** Goes on from `progress`, which is moved on with each line. Throws `FileMissing` where results to keep are gone. */
  static async open(
    files: Pick<FileStore, 'read' | 'readSmall'>,
    head: BatchHead,
    progress: Progress,
    options: { withoutKept?: boolean; withoutInvalid?: boolean },
  ): Promise<SideResults> {
    const start = progress.invalidAt;
    const segment = options.withoutInvalid ? undefined : head.plan?.invalid;
    const invalid = new SegmentReader(files, segment ?? NONE, { chunkBytes: CHUNK_BYTES, start });
    const kept =
      head.plan?.kept && !options.withoutKept
        ? await openKept(files, head, progress)
        : new SegmentReader(files, NONE, { chunkBytes: CHUNK_BYTES });
    await Promise.all([invalid.advance(), kept.advance()]);
    return new SideResults(invalid, kept, progress);
  }

  get current(): ResultEntry | undefined {
    return this.#first.current;
  }

  /** Whether `current` belongs at or before `line`. */
  isDue(line: number): boolean {
    return (this.current?.line ?? Number.POSITIVE_INFINITY) <= line;
  }

  /** On to the next, once `current` is copied; a promise where that has to be waited for. */
  advance(): Promise<void> | undefined {
    const reader = this.#first;
    if (reader === this.#invalid) this.#progress.invalidAt = reader.position;
    else {
      this.#progress.keptAt = reader.position;
      this.#progress.kept++;
    }
    return reader.tryAdvance() ? undefined : reader.advance();
  }

  get #first(): SegmentReader {
    const kept = this.#kept.current;
    const invalid = this.#invalid.current;
    return kept && (!invalid || kept.line < invalid.line) ? this.#kept : this.#invalid;
  }
}

/** The other batch's output file: its n-th line is the n-th `o` of that batch's index, and gets this batch's id. */
async function openKept(
  files: Pick<FileStore, 'read' | 'readSmall'>,
  { batchId, retryOf, retry }: BatchHead,
  progress: Progress,
): Promise<SegmentReader> {
  if (!retry?.output || retryOf === undefined) throw new KeptResultsDiffer(`Batch ${batchId} has nothing to keep`);
  const lines = completedLines(await readRetryLines(files, retry), progress.kept);
  const theirs = Buffer.from(`{"id":"${retryOf}_`);
  const ours = Buffer.from(`{"id":"${batchId}_`);
  const decode = (raw: Buffer): ResultEntry => {
    const { value: line } = lines.next();
    // Ids have one length, so that the line can be changed where it is.
    if (line === undefined || ours.length !== theirs.length || !raw.subarray(0, theirs.length).equals(theirs))
      throw new KeptResultsDiffer(`The output of ${retryOf} is not what its index says`);
    raw.set(ours);
    return { line, file: 'o', json: raw };
  };
  return new SegmentReader(files, retry.output, { chunkBytes: CHUNK_BYTES, start: progress.keptAt, decode });
}

function* completedLines(index: Uint8Array, after: number): Generator<number, undefined, undefined> {
  let seen = 0;
  for (const { line, file } of readLineIndex(index)) if (file === 'o' && ++seen > after) yield line;
  return undefined;
}
