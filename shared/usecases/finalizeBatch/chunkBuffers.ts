/** As many as one shard's segments usually take together; beyond that the oldest are let go. */
const MAX_SPARE_BYTES = 16 * 1024 * 1024;

/**
 * Memory that is read into and used again. One made anew for each chunk would be what the collector runs for: it goes
 * through the whole heap once for some ten megabytes of them.
 */
export class ChunkBuffers {
  readonly #spare: ArrayBuffer[] = [];
  #spareBytes = 0;

  /** What is in it is undefined. At most twice as large underneath: segments have much the same size, but not just the same. */
  take(bytes: number): Buffer {
    const index = this.#spare.findIndex(({ byteLength }) => byteLength >= bytes && byteLength <= 2 * bytes);
    const [found] = index === -1 ? [] : this.#spare.splice(index, 1);
    if (!found) return Buffer.allocUnsafeSlow(roundedUp(bytes)).subarray(0, bytes);
    this.#spareBytes -= found.byteLength;
    return Buffer.from(found, 0, bytes);
  }

  /** Takes back one that `take` has given, and that nobody reads from or into any more. */
  give(taken: Buffer): void {
    // Never a shared one: it is `allocUnsafeSlow`'s.
    const buffer = taken.buffer as ArrayBuffer;
    this.#spare.push(buffer);
    this.#spareBytes += buffer.byteLength;
    // The oldest goes: it may be of a size that nobody asks for any more.
    while (this.#spareBytes > MAX_SPARE_BYTES) this.#spareBytes -= this.#spare.shift()?.byteLength ?? 0;
  }
}

/** A quarter more at most, so that one that is taken for a small segment does for the next, larger one too. */
function roundedUp(bytes: number): number {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(bytes)) - 2);
  return Math.ceil(bytes / step) * step;
}
