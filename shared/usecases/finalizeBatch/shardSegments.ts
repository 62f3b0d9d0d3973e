import * as z from 'zod';
import { type SegmentRef, SegmentRefSchema, type ShardRecord } from '../../domain/shard.ts';
import { FileMissing, type FileStore } from '../../ports.ts';
import type { ChunkBuffers } from './chunkBuffers.ts';
import { type ResultEntry, SegmentReader } from './segmentReader.ts';

/**
 * For the chunks of segments that are open at once; each holds two. A buffer may be twice as large as its chunk
 * (ChunkBuffers): 128 MB of the function's 1,024 at most.
 */
const CHUNKS_BYTES = 64 * 1024 * 1024;
const MIN_CHUNK_BYTES = 32 * 1024;
const MAX_CHUNK_BYTES = 4 * 1024 * 1024;
/**
 * Segments that are being read before their turn. S3 takes 100 to 200 ms to a small object's first byte (its performance
 * guidelines), and a segment has often just half a megabyte.
 */
const READ_AHEAD = 8;
/** A manifest is JSON of some 150 bytes a segment; a shard has at most one segment a line. */
const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;

type Source = { segment: SegmentRef; reader: SegmentReader };

/** Told of a part that is not there; throws where that means that this run has been overtaken. */
export type OnMissing = (key: string) => Promise<void>;

/** All committed segments of a shard, those in manifests first. */
export async function segmentsOf(
  files: Pick<FileStore, 'readSmall'>,
  record: Pick<ShardRecord, 'segments' | 'manifests'>,
  onMissing: OnMissing,
): Promise<SegmentRef[]> {
  const segments: SegmentRef[] = [];
  for (const key of record.manifests) {
    const body = await files.readSmall(key, MAX_MANIFEST_BYTES);
    if (body) segments.push(...z.array(SegmentRefSchema).parse(JSON.parse(Buffer.from(body).toString())));
    else await onMissing(key);
  }
  return [...segments, ...record.segments];
}

/**
 * The segments of one shard, read side by side in line order. A segment is opened when its first line comes up, and the
 * ones after it are read ahead; so what is open is what overlaps.
 */
export class ShardSegments {
  readonly #onMissing: OnMissing;
  readonly #waiting: Source[];
  /** Those whose `current` is asked for yet, or is that of the line asked for last. */
  #open: Source[] = [];
  #asked = 0;

  constructor(
    files: Pick<FileStore, 'read'>,
    segments: SegmentRef[],
    options: { buffers: ChunkBuffers; onMissing: OnMissing },
  ) {
    this.#onMissing = options.onMissing;
    const { buffers } = options;
    const chunkBytes = Math.max(
      MIN_CHUNK_BYTES,
      Math.min(MAX_CHUNK_BYTES, Math.floor(CHUNKS_BYTES / (2 * largestOverlap(segments)))),
    );
    // Sorted backwards, so that the next one is popped; a stable sort keeps the order of commits among equals.
    this.#waiting = segments
      .toReversed()
      .sort((a, b) => b.first - a.first)
      .map((segment) => ({
        segment,
        reader: new SegmentReader(files, segment, { chunkBytes, buffers }),
      }));
  }

  /** The next line that has a result, as far as the records say; undefined after the last. */
  async nextLine(): Promise<number | undefined> {
    if (!this.#leaveAsked()) await this.#leaveAskedLater();
    const lines = this.#open.flatMap(({ reader }) => (reader.current ? [reader.current.line] : []));
    const waiting = this.#waiting.at(-1);
    if (waiting) lines.push(waiting.segment.first);
    return lines.length === 0 ? undefined : Math.min(...lines);
  }

  /**
   * The result of `line`, if there is one, its bytes good until the next call; a promise where that has to be waited for.
   * Calls go up in line; a line that was passed over is an error.
   */
  take(line: number): ResultEntry | undefined | Promise<ResultEntry | undefined> {
    const opens = (this.#waiting.at(-1)?.segment.first ?? Number.POSITIVE_INFINITY) <= line;
    return this.#leaveAsked() && !opens ? this.#find(line) : this.#takeLater(line);
  }

  async #takeLater(line: number): Promise<ResultEntry | undefined> {
    await this.#leaveAskedLater();
    for (let next = this.#waiting.at(-1); next && next.segment.first <= line; next = this.#waiting.at(-1)) {
      this.#waiting.pop();
      if (await this.#advance(next)) this.#open.push(next);
      for (const { reader } of this.#waiting.slice(-READ_AHEAD)) reader.prefetch();
    }
    return this.#find(line);
  }

  #find(line: number): ResultEntry | undefined {
    this.#asked = line;
    let found: ResultEntry | undefined;
    for (const { reader, segment } of this.#open) {
      if (!reader.current || reader.current.line > line) continue;
      if (reader.current.line < line)
        throw new Error(`The segment ${segment.key} has line ${reader.current.line} out of place`);
      // The commit protocol makes no second result of a line; were there one, each run would drop the same.
      found ??= reader.current;
    }
    return found;
  }

  /** Goes past the line that was asked for last, whose bytes were good until now. False: that has to be waited for. */
  #leaveAsked(): boolean {
    for (const source of this.#open) {
      if (source.reader.current?.line !== this.#asked) continue;
      if (!source.reader.tryAdvance()) return false;
      if (!source.reader.current) this.#close(source);
    }
    return true;
  }

  async #leaveAskedLater(): Promise<void> {
    for (const source of this.#open) {
      if (source.reader.current?.line !== this.#asked) continue;
      if (!(await this.#advance(source)) || !source.reader.current) this.#close(source);
    }
  }

  #close(source: Source): void {
    source.reader.close();
    // Another array: the one at hand is being gone through.
    this.#open = this.#open.filter((other) => other !== source);
  }

  /** Gives back the memory of what was not read to its end. */
  close(): void {
    for (const source of this.#open) this.#close(source);
  }

  /** Passes over the lines up to and with `line`, which an earlier invocation has copied. */
  async skipTo(line: number): Promise<void> {
    for (let next = this.#waiting.at(-1); next && next.segment.first <= line; next = this.#waiting.at(-1)) {
      this.#waiting.pop();
      if (next.segment.last <= line) continue;
      let there = await this.#advance(next);
      while (there && next.reader.current && next.reader.current.line <= line) there = await this.#advance(next);
      if (there && next.reader.current) this.#open.push(next);
    }
  }

  async #advance(source: Source): Promise<boolean> {
    try {
      await source.reader.advance();
      return true;
    } catch (error) {
      if (!(error instanceof FileMissing)) throw error;
      await this.#onMissing(source.segment.key);
      return false;
    }
  }
}

function largestOverlap(segments: SegmentRef[]): number {
  const edges = segments.flatMap(({ first, last }) => [
    { at: first, change: 1 },
    { at: last + 1, change: -1 },
  ]);
  edges.sort((a, b) => a.at - b.at || a.change - b.change);
  let open = 0;
  let largest = 1;
  for (const { change } of edges) {
    open += change;
    largest = Math.max(largest, open);
  }
  return largest;
}
