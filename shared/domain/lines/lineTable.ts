const START_CAPACITY = 1_024;

/** What is done with a line. */
const RUNS = 0;
const BAD = 1;
const LEFT_OUT = 2;

/**
 * What a validation keeps of each line that is not blank: 21 bytes a line in flat memory (21 MB for 1,000,000), which
 * is enough to cut shards. Lines are added in the file's order.
 */
export class LineTable {
  #starts = new Float64Array(START_CAPACITY);
  /** A file of nothing but newlines has more physical lines than 32 bits count. */
  #numbers = new Float64Array(START_CAPACITY);
  /** Bytes; only runnable lines' lengths matter, and those are limited to far less than 4 GB. */
  #lengths = new Uint32Array(START_CAPACITY);
  #kinds = new Uint8Array(START_CAPACITY);
  #size = 0;
  #badLines = 0;
  #leftOut = 0;

  get size(): number {
    return this.#size;
  }

  /** Lines that the batch is about: all but those that a retry leaves out. */
  get askedFor(): number {
    return this.#size - this.#leftOut;
  }

  get runnable(): number {
    return this.askedFor - this.#badLines;
  }

  get badLines(): number {
    return this.#badLines;
  }

  add(line: { line: number; start: number; end: number }, bad: boolean): void {
    this.#add(line, bad ? BAD : RUNS);
    if (bad) this.#badLines++;
  }

  /** A line that a retry does not run: it holds its place, as a blank one does. */
  leaveOut(line: { line: number; start: number; end: number }): void {
    this.#add(line, LEFT_OUT);
    this.#leftOut++;
  }

  #add(line: { line: number; start: number; end: number }, kind: number): void {
    if (this.#size === this.#kinds.length) this.#grow();
    const at = this.#size++;
    this.#starts[at] = line.start;
    this.#numbers[at] = line.line;
    this.#lengths[at] = Math.min(line.end - line.start, 0xffff_ffff);
    this.#kinds[at] = kind;
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

  isRunnable(at: number): boolean {
    return this.#kinds[at] === RUNS;
  }

  #grow(): void {
    const capacity = this.#kinds.length * 2;
    this.#starts = grown(this.#starts, new Float64Array(capacity));
    this.#numbers = grown(this.#numbers, new Float64Array(capacity));
    this.#lengths = grown(this.#lengths, new Uint32Array(capacity));
    this.#kinds = grown(this.#kinds, new Uint8Array(capacity));
  }
}

function grown<T extends Float64Array | Uint32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
