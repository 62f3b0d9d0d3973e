import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { freeMemory } from '../../shared/domain/freeMemory.ts';

/** A body that was taken in: a file, or so small that the index keeps its `content` itself. */
export type Body = { bodyId: string; bytes: number; content?: Buffer };

/** A run of an object's bytes: a body, whole, from the object's byte `start` on. */
export type Piece = Body & { start: number };

// Up to this size one blocking call is cheaper than the three trips through the thread pool of open, write, close.
const SMALL_BYTES = 128 * 1024;
/**
 * What the index keeps itself: making a file costs ten times what a row of this size does; beyond it rows cost more
 * (sqlite.org/intern-v-extern-blob.html).
 */
export const INLINE_BYTES = 32 * 1024;
const WRITE_BATCH_BYTES = 1024 * 1024;
/**
 * A blocking read of so much out of the kernel's cache, where what was written a moment ago still is, takes 0.1 ms: less
 * than the trip through the thread pool. From a disk it takes milliseconds, for which the server stands still.
 */
const READ_CHUNK_BYTES = 512 * 1024;
/** Kept for the next reader: as many as are read at once by two workers. */
const MAX_SPARE_BUFFERS = 16;

/**
 * Bodies on disk, each under an id made here: no part of a key ever becomes part of a path. A file counts only once a
 * row of the index names it, so a process killed while writing leaves an orphan and never half an object; `sweep`
 * removes orphans at start. Nothing is synced: what a killed process wrote is with the kernel.
 */
export class BodyFiles {
  readonly #folder: string;
  /** Files being read now, and those among them that were deleted meanwhile. */
  readonly #readers = new Map<string, number>();
  readonly #doomed = new Set<string>();
  readonly #spare: Buffer[] = [];

  constructor(folder: string) {
    this.#folder = folder;
    for (let n = 0; n < 256; n++) mkdirSync(join(folder, n.toString(16).padStart(2, '0')), { recursive: true });
  }

  #path(bodyId: string): string {
    return join(this.#folder, bodyId.slice(0, 2), bodyId);
  }

  /**
   * Writes what the source yields into a new file, and frees it; nothing stays if it throws. Makes no file of up to
   * `inlineBytes`, but answers them as `content`.
   */
  async write(source: AsyncIterable<Uint8Array>, inlineBytes = 0): Promise<Body> {
    const bodyId = randomUUID();
    let bytes = 0;
    let batch: Uint8Array[] = [];
    let batchBytes = 0;
    let file: FileHandle | undefined;
    const flush = async () => {
      if (!file) file = await open(this.#path(bodyId), 'wx');
      const { bytesWritten } = await file.writev(batch);
      if (bytesWritten !== batchBytes) throw new Error(`Only ${bytesWritten} of ${batchBytes} bytes were written.`);
      batch.forEach(freeMemory);
      batch = [];
      batchBytes = 0;
    };
    try {
      for await (const chunk of source) {
        batch.push(chunk);
        batchBytes += chunk.length;
        bytes += chunk.length;
        if (batchBytes >= WRITE_BATCH_BYTES) await flush();
      }
      if (!file && bytes <= inlineBytes) return { bodyId, bytes, content: Buffer.concat(batch) };
      if (!file && bytes <= SMALL_BYTES)
        writeFileSync(this.#path(bodyId), batch.length === 1 && batch[0] ? batch[0] : Buffer.concat(batch), {
          flag: 'wx',
        });
      else if (batchBytes > 0) await flush();
      await file?.close();
      return { bodyId, bytes };
    } catch (error) {
      await file?.close();
      rmSync(this.#path(bodyId), { force: true });
      throw error;
    }
  }

  /** Bytes `start`…`end` (exclusive) at once; for small ranges. */
  readNow(pieces: Piece[], start: number, end: number): Buffer {
    const target = Buffer.allocUnsafe(end - start);
    for (const piece of overlapping(pieces, start, end)) {
      if (piece.content) {
        piece.content.copy(target, piece.start + piece.from - start, piece.from, piece.to);
        continue;
      }
      const file = openSync(this.#path(piece.bodyId), 'r');
      try {
        const read = readSync(file, target, piece.start + piece.from - start, piece.to - piece.from, piece.from);
        if (read !== piece.to - piece.from) throw truncated(piece);
      } finally {
        closeSync(file);
      }
    }
    return target;
  }

  /** Keeps these files readable until disposed of, even where they are deleted meanwhile. */
  hold(pieces: Piece[]): Disposable {
    for (const { bodyId } of pieces) this.#readers.set(bodyId, (this.#readers.get(bodyId) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        for (const { bodyId } of pieces) {
          const readers = (this.#readers.get(bodyId) ?? 1) - 1;
          if (readers > 0) this.#readers.set(bodyId, readers);
          else {
            this.#readers.delete(bodyId);
            if (this.#doomed.delete(bodyId)) rmSync(this.#path(bodyId), { force: true });
          }
        }
      },
    };
  }

  /**
   * Bytes `start`…`end` (exclusive) of files that the caller holds. A chunk is good until the next is asked for: all are
   * read into one buffer, since one each would be most of what the collector has to do.
   */
  async *read(pieces: Piece[], start: number, end: number): AsyncGenerator<Buffer> {
    const buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(READ_CHUNK_BYTES);
    for (const piece of overlapping(pieces, start, end)) {
      if (piece.content) {
        yield piece.content.subarray(piece.from, piece.to);
        continue;
      }
      const file = openSync(this.#path(piece.bodyId), 'r');
      try {
        for (let position = piece.from; position < piece.to; ) {
          const bytesRead = readSync(file, buffer, 0, Math.min(buffer.length, piece.to - position), position);
          if (bytesRead === 0) throw truncated(piece);
          position += bytesRead;
          yield buffer.subarray(0, bytesRead);
        }
      } finally {
        closeSync(file);
      }
    }
    // Not where the reader gave up: its last chunk may still be on its way.
    if (this.#spare.length < MAX_SPARE_BUFFERS) this.#spare.push(buffer);
  }

  /** Deletes files that no row names any more; those being read, after their last reader. */
  async remove(bodyIds: string[]): Promise<void> {
    for (const bodyId of bodyIds) {
      if (this.#readers.has(bodyId)) this.#doomed.add(bodyId);
      else
        await unlink(this.#path(bodyId)).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') throw error;
        });
    }
  }

  /** Deletes every file that is not `live`; answers how many. */
  sweep(live: ReadonlySet<string>): number {
    let removed = 0;
    for (const folder of readdirSync(this.#folder))
      for (const bodyId of readdirSync(join(this.#folder, folder)))
        if (!live.has(bodyId)) {
          rmSync(join(this.#folder, folder, bodyId), { force: true });
          removed++;
        }
    return removed;
  }
}

/** Pieces that hold bytes of the range, with the part of each file (`from`…`to`) that does. */
function* overlapping(pieces: Piece[], start: number, end: number) {
  for (const piece of pieces) {
    const from = Math.max(start - piece.start, 0);
    const to = Math.min(end - piece.start, piece.bytes);
    if (from < to) yield { ...piece, from, to };
  }
}

const truncated = (piece: Piece) => new Error(`The body ${piece.bodyId} is shorter than the index says.`);
