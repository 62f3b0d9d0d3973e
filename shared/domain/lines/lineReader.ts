/**
 * Bytes in chunks of any size → physical lines. Nothing larger than one line of the allowed length is ever held, and a
 * line that lies within one chunk is a view into it, not a copy.
 *
 * Accepted: `\n` and `\r\n`, a last line without newline, a BOM at the start of the file. Blank lines (nothing but JSON
 * whitespace) are counted and left out.
 */
export type PhysicalLine = {
  /** 1-based and physical: blank lines count. */
  line: number;
  /** Byte offsets in the file; `end` is exclusive and leaves out the newline. */
  start: number;
  end: number;
  /** False for a last line that has no newline: it may have been cut off. */
  terminated: boolean;
  /** The text without newline and BOM, or `too_long` where it is over the limit: then it was not held. */
  content: Buffer | 'too_long';
};

export type LineReaderOptions = {
  maxLineBytes: number;
  /** Where in the file the first chunk starts, and the number of the line that starts there. */
  start?: number;
  firstLine?: number;
};

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;

/** `\r` before the `\n`, and a BOM before the text, do not count against the limit but may have to be held with it. */
const CR_BYTES = 1;
const BOM_BYTES = 3;

export class LineReader {
  readonly #maxLineBytes: number;
  readonly #maxHeldBytes: number;
  #line: number;
  /** Offset of the first byte of the line that is being read, and of the first byte not seen yet. */
  #lineStart: number;
  #position: number;
  /** Pieces of a line that began in an earlier chunk. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #tooLong = false;

  constructor(options: LineReaderOptions) {
    this.#maxLineBytes = options.maxLineBytes;
    this.#maxHeldBytes = options.maxLineBytes + CR_BYTES + BOM_BYTES;
    this.#line = options.firstLine ?? 1;
    this.#lineStart = options.start ?? 0;
    this.#position = this.#lineStart;
  }

  /** Bytes of the file that were read, from its start. */
  get position(): number {
    return this.#position;
  }

  /** The lines that end in this chunk, which must not be reused while they are used. */
  *push(bytes: Uint8Array): Generator<PhysicalLine, void, undefined> {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const chunkStart = this.#position;
    this.#position += chunk.length;
    let from = 0;
    while (from < chunk.length) {
      // A run of empty lines (5 GB of newlines is a file, too) must not cost an object each.
      const newline = chunk[from] === LF ? from : chunk.indexOf(LF, from);
      if (newline === -1) {
        this.#hold(chunk.subarray(from));
        return;
      }
      const empty = newline === from && this.#heldBytes === 0;
      const line = empty ? undefined : this.#finish(chunk.subarray(from, newline), chunkStart + newline, true);
      from = newline + 1;
      this.#line++;
      this.#lineStart = chunkStart + from;
      if (line) yield line;
    }
  }

  /** The last line, where the file does not end in a newline. */
  *end(): Generator<PhysicalLine, void, undefined> {
    if (this.#position === this.#lineStart) return;
    const line = this.#finish(Buffer.alloc(0), this.#position, false);
    this.#line++;
    this.#lineStart = this.#position;
    if (line) yield line;
  }

  #hold(piece: Buffer): void {
    if (this.#tooLong) return;
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    if (this.#heldBytes > this.#maxHeldBytes) {
      this.#tooLong = true;
      this.#held = [];
    }
  }

  /** The line whose last piece this is, ending before `end`; undefined where it is blank. */
  #finish(lastPiece: Buffer, end: number, terminated: boolean): PhysicalLine | undefined {
    const line = this.#line;
    const start = this.#lineStart;
    const rawBytes = end - start;
    const held = this.#held;
    const wasHeld = this.#heldBytes > 0;
    this.#held = [];
    this.#heldBytes = 0;
    this.#tooLong = false;
    if (rawBytes > this.#maxHeldBytes) return { line, start, end, terminated, content: 'too_long' };

    const raw = wasHeld ? Buffer.concat([...held, lastPiece], rawBytes) : lastPiece;
    const bom = start === 0 && raw.length >= BOM_BYTES && raw[0] === 0xef && raw[1] === 0xbb && raw[2] === 0xbf;
    const textStart = bom ? BOM_BYTES : 0;
    const textEnd = raw.length > textStart && raw[raw.length - 1] === CR ? raw.length - 1 : raw.length;
    const text = raw.subarray(textStart, textEnd);
    if (isBlank(text)) return undefined;
    const content = text.length > this.#maxLineBytes ? 'too_long' : text;
    return { line, start: start + textStart, end: start + textEnd, terminated, content };
  }
}

/** Nothing but JSON whitespace. */
function isBlank(text: Buffer): boolean {
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (byte !== SPACE && byte !== TAB && byte !== CR) return false;
  }
  return true;
}

/** All lines of a stream: of the whole file, or of a byte range that starts where a line does. */
export async function* readLines(
  chunks: AsyncIterable<Uint8Array>,
  options: LineReaderOptions,
): AsyncGenerator<PhysicalLine, void, undefined> {
  const reader = new LineReader(options);
  for await (const chunk of chunks) yield* reader.push(chunk);
  yield* reader.end();
}
