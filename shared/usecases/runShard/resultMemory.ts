import { freeMemory } from '../../domain/freeMemory.ts';

/** Some two hundred results of 1 KB. */
const SLAB_BYTES = 256 * 1024;
/** A character of JavaScript is at most so many bytes of UTF-8. */
const MOST_BYTES_A_CHARACTER = 3;

const NONE = Buffer.alloc(0);

/**
 * Memory for results that wait for their commit: they are written into it one behind the other, and it is given back as
 * a whole. A Buffer for each would wait for the collector, which goes through the whole heap for each few megabytes.
 */
export class ResultMemory {
  readonly #slabs: Buffer[] = [];
  #slab: Buffer = NONE;
  #used = 0;

  /** The texts' bytes in UTF-8, in a row: good until `free`. */
  write(texts: readonly string[]): Buffer {
    const most = MOST_BYTES_A_CHARACTER * texts.reduce((sum, { length }) => sum + length, 0);
    if (most > SLAB_BYTES / 4) {
      const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
      return writeInto(this.#newSlab(bytes), 0, texts);
    }
    if (most > this.#slab.length - this.#used) {
      this.#slab = this.#newSlab(SLAB_BYTES);
      this.#used = 0;
    }
    const bytes = writeInto(this.#slab, this.#used, texts);
    this.#used += bytes.length;
    return bytes;
  }

  free(): void {
    this.#slabs.splice(0).forEach(freeMemory);
    this.#slab = NONE;
    this.#used = 0;
  }

  #newSlab(bytes: number): Buffer {
    // Not of the pool that small Buffers share.
    const slab = Buffer.allocUnsafeSlow(bytes);
    this.#slabs.push(slab);
    return slab;
  }
}

function writeInto(slab: Buffer, from: number, texts: readonly string[]): Buffer {
  let at = from;
  for (const text of texts) at += slab.write(text, at);
  return slab.subarray(from, at);
}
