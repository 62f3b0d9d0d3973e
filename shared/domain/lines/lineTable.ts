/**
 * What a validation keeps of each line that is not blank: 21 bytes a line in flat memory (21 MB for 1,000,000), which
 * is enough to cut shards. Lines are added in the file's order.
 */
const START_CAPACITY = 1_024;

export class LineTable {
  #starts = new Float64Array(START_CAPACITY);
  /** A file of nothing but newlines has more physical lines than 32 bits count. */
  #numbers = new Float64Array(START_CAPACITY);
  /** Bytes; only runnable lines' lengths matter, and those are limited to far less than 4 GB. */
  #lengths = new Uint32Array(START_CAPACITY);
  #bad = new Uint8Array(START_CAPACITY);
  #size = 0;
  #badLines = 0;

  get size(): number {
    return this.#size;
  }

  get badLines(): number {
    return this.#badLines;
  }

  add(line: { line: number; start: number; end: number }, bad: boolean): void {
    if (this.#size === this.#bad.length) this.#grow();
    const at = this.#size++;
    this.#starts[at] = line.start;
    this.#numbers[at] = line.line;
    this.#lengths[at] = Math.min(line.end - line.start, 0xffff_ffff);
    if (bad) {
      this.#bad[at] = 1;
      this.#badLines++;
    }
  }

  start(at: number): number {
    return this.#starts[at] ?? 0;
  }

  end(at: number): number {
    return this.start(at) + (this.#lengths[at] ?? 0);
  }

  /** The physical number. */
  line(at: number): number {
    return this.#numbers[at] ?? 0;
  }

  isBad(at: number): boolean {
    return this.#bad[at] === 1;
  }

  #grow(): void {
    const capacity = this.#bad.length * 2;
    this.#starts = grown(this.#starts, new Float64Array(capacity));
    this.#numbers = grown(this.#numbers, new Float64Array(capacity));
    this.#lengths = grown(this.#lengths, new Uint32Array(capacity));
    this.#bad = grown(this.#bad, new Uint8Array(capacity));
  }
}

function grown<T extends Float64Array | Uint32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
