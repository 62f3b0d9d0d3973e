/**
 * A segment: what a worker commits to S3, and what Finalize copies from. One text line a result, sorted by physical
 * line: `<line number> <o|e> <the finished JSON line>\n`; `o` goes to the output file, `e` to the errors file.
 */
export type SegmentEntry = {
  line: number;
  file: 'o' | 'e';
  json: string;
  /** What a failed line ended with: for the batch's record, since the segment has it in `json`. */
  error?: { code: string; message: string };
};

export function encodeSegment(entries: SegmentEntry[]): Buffer {
  const sorted = [...entries].sort((a, b) => a.line - b.line);
  // Written in place: results have up to 10 MB each, and joined they would be there once more as text.
  let bytes = 0;
  for (const { line, file, json } of sorted) bytes += `${line} ${file} `.length + Buffer.byteLength(json) + 1;
  const segment = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  for (const { line, file, json } of sorted) {
    at += segment.write(`${line} ${file} `, at);
    at += segment.write(json, at);
    segment[at++] = LF;
  }
  return segment;
}

const SPACE = 0x20;
const LF = 0x0a;
const OUTPUT = 0x6f;

/** Reads one entry's head from its raw line (without newline): `json` is a view into it, not a copy. */
export function decodeSegmentLine(raw: Uint8Array): { line: number; file: 'o' | 'e'; json: Uint8Array } {
  let line = 0;
  let at = 0;
  for (; at < raw.length && raw[at] !== SPACE; at++) line = line * 10 + ((raw[at] ?? 0) - 0x30);
  if (at === 0 || raw[at + 2] !== SPACE) throw new Error('Not a line of a segment');
  return { line, file: raw[at + 1] === OUTPUT ? 'o' : 'e', json: raw.subarray(at + 3) };
}
