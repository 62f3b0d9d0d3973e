/**
 * Which line of the input is in which of a batch's two files: what a retry selects by. Written while the files are, in
 * line order, so that the n-th entry of a file is the n-th line of that file.
 *
 * One varint an entry (7 bits a byte, lowest first, the high bit says that more follows): twice the distance from the
 * line before, less 1, plus 1 for the errors file. A file without gaps takes a byte a line: 1 MB for 1,000,000 lines.
 */
export type LineIndexEntry = { line: number; file: 'o' | 'e' };

/** The first byte. */
const FORMAT = 1;
const START_CAPACITY = 1_024;
/** 5 GB of newlines are distances of 33 bits; this is as far as whole numbers go. */
const LONGEST_VARINT_BYTES = 8;

export class LineIndexWriter {
  #bytes: Uint8Array;
  #used: number;
  #last = 0;

  /** With `written`, goes on from what another writer has left. */
  constructor(written?: Uint8Array) {
    this.#bytes = new Uint8Array(Math.max(START_CAPACITY, written?.length ?? 0));
    if (!written) {
      this.#bytes[0] = FORMAT;
      this.#used = 1;
      return;
    }
    this.#bytes.set(written);
    this.#used = written.length;
    for (const { line } of readLineIndex(written)) this.#last = line;
  }

  /** All that was written: a view, good until the next `add`. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#used);
  }

  /** Lines go up. */
  add(line: number, file: 'o' | 'e'): void {
    if (line <= this.#last) throw new Error(`Line ${line} does not come after line ${this.#last}`);
    if (this.#used + LONGEST_VARINT_BYTES > this.#bytes.length) this.#grow();
    let value = (line - this.#last - 1) * 2 + (file === 'e' ? 1 : 0);
    this.#last = line;
    // Not by shifts: they work on 32 bits.
    while (value >= 0x80) {
      this.#bytes[this.#used++] = (value % 0x80) + 0x80;
      value = Math.floor(value / 0x80);
    }
    this.#bytes[this.#used++] = value;
  }

  #grow(): void {
    const grown = new Uint8Array(this.#bytes.length * 2);
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

/** The entries in line order. Throws where the bytes are none of an index. */
export function* readLineIndex(bytes: Uint8Array): Generator<LineIndexEntry, void, undefined> {
  if (bytes[0] !== FORMAT) throw new Error('Not an index of lines');
  let line = 0;
  for (let at = 1; at < bytes.length; ) {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('The index of lines is cut off');
      value += (byte % 0x80) * factor;
      if (byte < 0x80) break;
    }
    line += Math.floor(value / 2) + 1;
    yield { line, file: value % 2 === 1 ? 'e' : 'o' };
  }
}

/** The lines of the errors file, asked for in line order. */
export class FailedLines {
  readonly #entries: Generator<LineIndexEntry, void, undefined>;
  #next: LineIndexEntry | undefined;

  constructor(index: Uint8Array) {
    this.#entries = readLineIndex(index);
    this.#advance();
  }

  /** Lines go up. */
  has(line: number): boolean {
    while (this.#next && this.#next.line < line) this.#advance();
    return this.#next?.line === line && this.#next.file === 'e';
  }

  #advance(): void {
    this.#next = this.#entries.next().value ?? undefined;
  }
}

/** How many lines are in each file. */
export function countLines(bytes: Uint8Array): { output: number; errors: number } {
  const counts = { output: 0, errors: 0 };
  for (const { file } of readLineIndex(bytes)) counts[file === 'o' ? 'output' : 'errors']++;
  return counts;
}
