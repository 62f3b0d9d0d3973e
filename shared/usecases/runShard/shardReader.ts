import { freeMemory } from '../../domain/freeMemory.ts';
import { LineReader, type PhysicalLine } from '../../domain/lines/lineReader.ts';
import { isBitSet, type ShardRange } from '../../domain/shard.ts';
import type { FileStore } from '../../ports.ts';

/**
 * Bytes read at once. A whole piece is taken before its lines are used, so that no connection to S3 stays open while
 * the models are slow; with the largest shard of lines of 1 KB it is seven requests.
 */
const PIECE_BYTES = 4 * 1024 * 1024;
/** What is left when the next piece is asked for: enough for the time that it takes to come. */
const LOW_BYTES = 1024 * 1024;
/** A piece is handed to the line reader in chunks: the next is asked for while some of them are left. */
const CHUNK_BYTES = 256 * 1024;

/** `piece`: the memory that ends with this chunk. */
type Chunk = { bytes: Uint8Array; piece?: Uint8Array };

/** The lines of a shard that are still to be run, in order, a bounded piece of the file at a time. */
export class ShardReader {
  readonly #files: Pick<FileStore, 'read'>;
  readonly #input: { key: string; etag: string };
  readonly #range: ShardRange;
  #done: Uint8Array = NONE;
  readonly #lines: LineReader;
  #current: { lines: Iterator<PhysicalLine>; chunk: Chunk } | undefined;
  readonly #chunks: Chunk[] = [];
  #position: number;
  #atEnd = false;
  #loading: Promise<void> | undefined;

  constructor(
    files: Pick<FileStore, 'read'>,
    input: { key: string; etag: string },
    range: ShardRange,
    maxLineBytes: number,
  ) {
    this.#files = files;
    this.#input = input;
    this.#range = range;
    this.#position = range.start;
    this.#lines = new LineReader({ maxLineBytes, start: range.start, firstLine: range.firstLine });
  }

  /** Bitmap of the lines to leave out, as it was when the shard was taken; to be told before the first line is asked for. */
  leaveOut(done: Uint8Array): void {
    this.#done = done.slice();
  }

  /** True when `next` will give nothing any more. */
  get ended(): boolean {
    return this.#atEnd && this.#current === undefined && this.#chunks.length === 0;
  }

  /** The next piece is to be loaded, so that it is there when it is wanted. */
  get isLow(): boolean {
    return !this.#atEnd && this.#chunks.length * CHUNK_BYTES < LOW_BYTES;
  }

  /**
   * The next line to run; undefined where a piece has to be loaded first, or at the end. Its bytes are good until the one
   * behind it is asked for.
   */
  next(): PhysicalLine | undefined {
    for (;;) {
      const read = this.#current?.lines.next();
      if (read && !read.done) {
        if (isBitSet(this.#done, read.value.line - this.#range.firstLine)) continue;
        return read.value;
      }
      if (this.#current?.chunk.piece) freeMemory(this.#current.chunk.piece);
      const chunk = this.#chunks.shift();
      this.#current = chunk && { lines: this.#lines.push(chunk.bytes), chunk };
      if (!this.#current) return undefined;
    }
  }

  /** Reads the next piece, but for the one that is being read already; not after the last. */
  load(): Promise<void> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #load(): Promise<void> {
    const end = Math.min(this.#position + PIECE_BYTES, this.#range.end);
    const { key, etag } = this.#input;
    // In one run: a line that lies in two chunks takes several times as long as others. Not of the pool of small Buffers.
    const piece = Buffer.allocUnsafeSlow(end - this.#position);
    let bytes = 0;
    for await (const part of await this.#files.read(key, {
      start: this.#position,
      end,
      ifMatch: etag,
      passing: true,
    })) {
      piece.set(part, bytes);
      bytes += part.length;
    }
    if (bytes !== piece.length) throw new Error(`Read ${bytes} of ${piece.length} bytes of the input.`);
    this.#position = end;
    for (let at = 0; at < bytes; at += CHUNK_BYTES) this.#chunks.push({ bytes: piece.subarray(at, at + CHUNK_BYTES) });
    const last = this.#chunks.at(-1);
    if (last) last.piece = piece;
    if (end < this.#range.end) return;
    // A shard's range ends with the text of its last line: the newline that follows makes the reader give it out.
    this.#chunks.push({ bytes: NEWLINE });
    this.#atEnd = true;
  }
}

const NONE = new Uint8Array();
const NEWLINE = Buffer.from('\n');
