/**
 * A segment: what a worker commits to S3, and what Finalize copies from. One text line a result, sorted by physical
 * line: `<line number> <o|e> <the finished JSON line>\n`; `o` goes to the output file, `e` to the errors file.
 */
export type SegmentEntry = {
  line: number;
  file: 'o' | 'e';
  /** Its whole line in the segment. As bytes, which wait outside of V8's heap for what is committed with them. */
  bytes: Buffer;
};

/** `json`: the finished line of the output or errors file, without newline. */
export function segmentEntry(line: number, file: 'o' | 'e', json: string): SegmentEntry {
  return { line, file, bytes: Buffer.from(segmentTexts(line, file, [json]).join('')) };
}

/** The same as texts that follow each other; so is `json`. */
export function segmentTexts(line: number, file: 'o' | 'e', json: readonly string[]): string[] {
  return [`${line} ${file} `, ...json, '\n'];
}

export function encodeSegment(entries: SegmentEntry[]): Buffer {
  return Buffer.concat([...entries].sort((a, b) => a.line - b.line).map(({ bytes }) => bytes));
}

const SPACE = 0x20;
const OUTPUT = 0x6f;

/** Reads one entry's head from its raw line (without newline): `json` is a view into it, not a copy. */
export function decodeSegmentLine(raw: Uint8Array): { line: number; file: 'o' | 'e'; json: Uint8Array } {
  let line = 0;
  let at = 0;
  for (; at < raw.length && raw[at] !== SPACE; at++) line = line * 10 + ((raw[at] ?? 0) - 0x30);
  if (at === 0 || raw[at + 2] !== SPACE) throw new Error('Not a line of a segment');
  return { line, file: raw[at + 1] === OUTPUT ? 'o' : 'e', json: raw.subarray(at + 3) };
}
