import { decodeSegmentLine } from '../../domain/lines/segment.ts';
import type { FileStore } from '../../ports.ts';
import { ChunkBuffers } from './chunkBuffers.ts';

export type ResultEntry = { line: number; file: 'o' | 'e'; json: Uint8Array };

const LF = 0x0a;
const NOTHING = Buffer.alloc(0);

/**
 * Reads a segment by ranged reads of `chunkBytes`, one of them ahead, so that no socket stays open while it waits for
 * its turn. At most two chunks are held, or the longest line. Another file of lines is read by a `decode` of its own.
 *
 * `current` is the entry at hand, undefined at the end; its bytes are good until the reader goes on. `tryAdvance` goes on
 * without waiting where it can: an await for each of a million lines would cost more than copying them.
 */
export class SegmentReader {
  current: ResultEntry | undefined;
  readonly #files: Pick<FileStore, 'read'>;
  readonly #segment: { key: string; bytes: number };
  readonly #chunkBytes: number;
  readonly #decode: (raw: Buffer) => ResultEntry;
  readonly #buffers: ChunkBuffers;
  #buffer: Buffer = NOTHING;
  #at = 0;
  /** Where in the segment the buffer ends, and how far into the buffer no newline was found. */
  #offset: number;
  #searched = 0;
  #ahead: Promise<Buffer> | undefined;
  #aheadEnd = 0;

  constructor(
    files: Pick<FileStore, 'read'>,
    segment: { key: string; bytes: number },
    options: { chunkBytes: number; buffers?: ChunkBuffers; start?: number; decode?: (raw: Buffer) => ResultEntry },
  ) {
    this.#files = files;
    this.#segment = segment;
    this.#chunkBytes = options.chunkBytes;
    this.#buffers = options.buffers ?? new ChunkBuffers();
    this.#decode = options.decode ?? decodeSegmentLine;
    this.#offset = options.start ?? 0;
  }

  /** Bytes up to the entry after the current one. */
  get position(): number {
    return this.#offset - (this.#buffer.length - this.#at);
  }

  /** True: `current` is the next entry, or there is none. False: `fill` first. */
  tryAdvance(): boolean {
    const newline = this.#buffer.indexOf(LF, Math.max(this.#at, this.#searched));
    if (newline === -1) {
      if (this.#offset < this.#segment.bytes) {
        this.#searched = this.#buffer.length;
        return false;
      }
      if (this.#at < this.#buffer.length) throw new Error(`The segment ${this.#segment.key} is cut off`);
      this.close();
      return true;
    }
    this.current = this.#decode(this.#buffer.subarray(this.#at, newline));
    this.#at = newline + 1;
    return true;
  }

  async fill(): Promise<void> {
    this.prefetch();
    const ahead = this.#ahead;
    if (!ahead) return;
    this.#ahead = undefined;
    const chunk = await ahead;
    const rest = this.#buffer.subarray(this.#at);
    this.#searched -= this.#at;
    const before = this.#buffer;
    this.#buffer = rest.length === 0 ? chunk : this.#join(rest, chunk);
    this.#giveBack(before);
    this.#at = 0;
    this.#offset = this.#aheadEnd;
    this.prefetch();
  }

  async advance(): Promise<void> {
    while (!this.tryAdvance()) await this.fill();
  }

  /** Nothing more is read: `current` is none. */
  close(): void {
    this.current = undefined;
    this.#giveBack(this.#buffer);
    this.#buffer = NOTHING;
    this.#at = 0;
    this.#searched = 0;
  }

  /** Starts to read what comes next. */
  prefetch(): void {
    if (this.#ahead || this.#offset >= this.#segment.bytes) return;
    // A line longer than a chunk is read in ever larger steps, so that joining them stays linear.
    const bytes = Math.max(this.#chunkBytes, this.#searched - this.#at);
    const end = Math.min(this.#offset + bytes, this.#segment.bytes);
    this.#aheadEnd = end;
    this.#ahead = this.#read(this.#offset, end);
    // Whoever needs the chunk gets the error; until then it is nobody's.
    this.#ahead.catch(() => undefined);
  }

  async #read(start: number, end: number): Promise<Buffer> {
    const pieces = await this.#files.read(this.#segment.key, { start, end, passing: true });
    const chunk = this.#buffers.take(end - start);
    let used = 0;
    for await (const piece of pieces) {
      chunk.set(piece, used);
      used += piece.length;
    }
    if (used !== chunk.length) throw new Error(`The segment ${this.#segment.key} is shorter than its record`);
    return chunk;
  }

  #join(rest: Buffer, chunk: Buffer): Buffer {
    const joined = this.#buffers.take(rest.length + chunk.length);
    joined.set(rest);
    joined.set(chunk, rest.length);
    this.#giveBack(chunk);
    return joined;
  }

  #giveBack(buffer: Buffer): void {
    if (buffer !== NOTHING) this.#buffers.give(buffer);
  }
}
