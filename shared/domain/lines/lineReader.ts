import { isAscii } from 'node:buffer';

/**
 * Bytes in chunks of any size → physical lines. Nothing larger than one line of the allowed length is ever held, and a
 * line that lies within one chunk is a view into it, not a copy.
 *
 * Whole lines within a chunk are found a block at a time: its text is made and split in one go each, which takes less
 * than half of the time that it takes to do both line by line.
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
  /** The content as text, where all of it is ASCII and the reader has it at hand. It keeps its block in memory. */
  ascii?: string | undefined;
  /** The content with each byte as one character, where the reader has that at hand; it keeps its block in memory, too. */
  latin1?: string | undefined;
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
/** Small enough to be still in the processor's cache when the last of its lines is parsed. */
const BLOCK_BYTES = 64 * 1024;

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

  /** The lines that end in this chunk, whose memory must not be used again while they are. */
  *push(bytes: Uint8Array): Generator<PhysicalLine, void, undefined> {
    for (const lines of this.pushBlocks(bytes)) for (const line of lines) yield line;
  }

  /** The same, with all lines of a block at once: to go through a list costs less than to ask for each line. */
  *pushBlocks(bytes: Uint8Array): Generator<readonly PhysicalLine[], void, undefined> {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const chunkStart = this.#position;
    this.#position += chunk.length;
    let from = 0;
    while (from < chunk.length) {
      const block = this.#nextBlock(chunk, from);
      if (block) {
        yield this.#linesOf(block);
        from += block.length;
        continue;
      }
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
      if (line) yield [line];
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

  /** Lines that are all there, up to and with the newline of the last; undefined where a line has to be taken alone. */
  #nextBlock(chunk: Buffer, from: number): Buffer | undefined {
    // The file's first line may have a BOM.
    if (this.#heldBytes > 0 || this.#lineStart === 0) return undefined;
    const end = chunk.lastIndexOf(LF, Math.min(from + BLOCK_BYTES, chunk.length) - 1) + 1;
    return end > from ? chunk.subarray(from, end) : undefined;
  }

  #linesOf(bytes: Buffer): PhysicalLine[] {
    const block = { bytes, start: this.#lineStart, ascii: isAscii(bytes) };
    const lines: PhysicalLine[] = [];
    for (const text of bytes.toString('latin1', 0, bytes.length - 1).split('\n')) {
      const line = text === '' ? undefined : this.#lineOf(block, text);
      this.#line++;
      this.#lineStart += text.length + 1;
      if (line) lines.push(line);
    }
    return lines;
  }

  /** The next line, whose bytes, seen as Latin-1, are this text; undefined where it is blank. */
  #lineOf(block: Block, raw: string): PhysicalLine | undefined {
    const { bytes, start } = block;
    const at = this.#lineStart - start;
    if (raw.length > this.#maxLineBytes)
      return this.#finish(bytes.subarray(at, at + raw.length), this.#lineStart + raw.length, true);
    const text = raw.charCodeAt(raw.length - 1) === CR ? raw.slice(0, -1) : raw;
    // Nearly every line shows by its first character that it is not blank.
    if (!(text.charCodeAt(0) > SPACE) && isBlank(bytes.subarray(at, at + text.length))) return undefined;
    return new BlockLine(this.#line, this.#lineStart, text, block);
  }

  #hold(piece: Buffer): void {
    if (this.#tooLong) return;
    this.#heldBytes += piece.length;
    if (this.#heldBytes > this.#maxHeldBytes) {
      this.#tooLong = true;
      this.#held = [];
    }
    // The chunk's memory is not ours: whoever read it may use it again.
    else this.#held.push(Buffer.from(piece));
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
    const text = textEnd - textStart === raw.length ? raw : raw.subarray(textStart, textEnd);
    if (isBlank(text)) return undefined;
    const content = text.length > this.#maxLineBytes ? 'too_long' : text;
    return { line, start: start + textStart, end: start + textEnd, terminated, content };
  }
}

/** Whole lines. `start`: where in the file they begin. */
type Block = { bytes: Buffer; start: number; ascii: boolean };

/** A line within a block: its bytes are cut out where they are asked for. */
class BlockLine implements PhysicalLine {
  readonly line: number;
  readonly start: number;
  readonly end: number;
  readonly terminated = true;
  readonly #latin1: string;
  readonly #block: Block;

  constructor(line: number, start: number, latin1: string, block: Block) {
    this.line = line;
    this.start = start;
    this.end = start + latin1.length;
    this.#latin1 = latin1;
    this.#block = block;
  }

  get content(): Buffer {
    const { bytes, start } = this.#block;
    return bytes.subarray(this.start - start, this.end - start);
  }

  get latin1(): string {
    return this.#latin1;
  }

  get ascii(): string | undefined {
    return this.#block.ascii || this.#isAscii() ? this.#latin1 : undefined;
  }

  #isAscii(): boolean {
    const { bytes, start } = this.#block;
    // A bare view, which takes a third of the time that `subarray` takes for a Buffer.
    return isAscii(new Uint8Array(bytes.buffer, bytes.byteOffset + this.start - start, this.#latin1.length));
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
