import { isAscii } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineReader, type PhysicalLine, readLines } from '../../../shared/domain/lines/lineReader.ts';

type Seen = { line: number; start: number; end: number; terminated: boolean; text: string };

function read(chunks: Uint8Array[], options: ConstructorParameters<typeof LineReader>[0]): Seen[] {
  const reader = new LineReader(options);
  const seen: Seen[] = [];
  const take = (lines: Iterable<PhysicalLine>) => {
    for (const { content, ...rest } of lines)
      seen.push({ ...rest, text: content === 'too_long' ? 'TOO LONG' : content.toString('latin1') });
  };
  for (const chunk of chunks) take(reader.push(chunk));
  take(reader.end());
  return seen;
}

/** The obvious way, with the whole file in hand. */
function readNaively(file: Buffer, maxLineBytes: number): Seen[] {
  const text = file.toString('latin1');
  const seen: Seen[] = [];
  let start = 0;
  let line = 1;
  while (start < text.length) {
    const newline = text.indexOf('\n', start);
    const rawEnd = newline === -1 ? text.length : newline;
    let from = start;
    if (start === 0 && text.startsWith('\xef\xbb\xbf')) from = 3;
    if (from > rawEnd) from = rawEnd;
    const to = rawEnd > from && text[rawEnd - 1] === '\r' ? rawEnd - 1 : rawEnd;
    const content = text.slice(from, to);
    const longest = maxLineBytes + 4;
    if (rawEnd - start > longest) seen.push({ line, start, end: rawEnd, terminated: newline !== -1, text: 'TOO LONG' });
    else if (/[^ \t\r]/.test(content))
      seen.push({
        line,
        start: from,
        end: to,
        terminated: newline !== -1,
        text: content.length > maxLineBytes ? 'TOO LONG' : content,
      });
    start = rawEnd + 1;
    line++;
  }
  return seen;
}

function cut(file: Buffer, sizes: number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let turn = 0; at < file.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    chunks.push(file.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

const piece = fc.constantFrom('{"a":1}', 'é', '\n', '\r\n', '\r', ' ', '\t', '\n\n\n', '\ufeff', '[]', 'x'.repeat(40));
const files = fc.array(piece, { maxLength: 40 }).map((pieces) => Buffer.from(pieces.join('')));

describe('the line reader', () => {
  it('finds the same lines as a naive reader, whatever the chunk borders', () => {
    fc.assert(
      fc.property(
        files,
        fc.array(fc.oneof(fc.integer({ min: 1, max: 17 }), fc.constantFrom(60, 1_000)), { minLength: 1, maxLength: 6 }),
        fc.constantFrom(8, 20, 60),
        (file, sizes, maxLineBytes) => {
          expect(read(cut(file, sizes), { maxLineBytes })).toEqual(readNaively(file, maxLineBytes));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('names byte ranges that hold just the line', () => {
    fc.assert(
      fc.property(files, fc.integer({ min: 1, max: 9 }), (file, size) => {
        for (const { start, end, text } of read(cut(file, [size]), { maxLineBytes: 1000 }))
          expect(file.subarray(start, end).toString('latin1')).toBe(text);
      }),
    );
  });

  it('reads a range from the middle of a file with the file’s own numbers and offsets', () => {
    fc.assert(
      fc.property(files, fc.nat(), fc.integer({ min: 1, max: 9 }), (file, pick, size) => {
        const whole = read([file], { maxLineBytes: 1000 });
        if (whole.length === 0) return;
        const first = pick % whole.length;
        const from = whole[first];
        if (from === undefined) return;
        const range = cut(file.subarray(from.start), [size]);
        expect(read(range, { maxLineBytes: 1000, start: from.start, firstLine: from.line })).toEqual(
          whole.slice(first),
        );
      }),
    );
  });

  it('has the text at hand of lines that are ASCII, and of no other', () => {
    fc.assert(
      fc.property(files, fc.constantFrom(5, 50, 1_000), (file, size) => {
        const reader = new LineReader({ maxLineBytes: 1_000 });
        for (const chunk of cut(Buffer.concat([Buffer.from('\n'), file]), [size]))
          for (const { ascii, content } of reader.push(chunk)) {
            if (content === 'too_long') return expect.fail('is short');
            // A line that came in pieces is left to who needs its text.
            if (ascii !== undefined || size === 1_000)
              expect(ascii).toBe(isAscii(content) ? content.toString('latin1') : undefined);
          }
      }),
    );
  });

  it('goes through blocks of many lines, and lines larger than a block', () => {
    const texts = Array.from({ length: 3_000 }, (_, at) => `${at}${at % 7 === 0 ? 'é' : ''}${'x'.repeat(at % 90)}`);
    texts[1_000] = 'y'.repeat(200_000);
    texts[2_000] = '';
    const file = Buffer.from(texts.join('\r\n'));
    for (const sizes of [[file.length], [150_000], [65_536, 1]])
      expect(read(cut(file, sizes), { maxLineBytes: 150_000 })).toEqual(readNaively(file, 150_000));
  });

  it('counts blank lines but leaves them out', () => {
    expect(read([Buffer.from('\n \t\r\n{}\n\n\n[]')], { maxLineBytes: 10 })).toEqual([
      { line: 3, start: 5, end: 7, terminated: true, text: '{}' },
      { line: 6, start: 10, end: 12, terminated: false, text: '[]' },
    ]);
  });

  it('skips a BOM only at the start of the file', () => {
    const file = Buffer.from('\ufeff{}\n\ufeff{}');
    expect(read(cut(file, [1]), { maxLineBytes: 10 })).toMatchObject([
      { line: 1, start: 3, end: 5, text: '{}' },
      { line: 2, start: 6, end: 11 },
    ]);
  });

  it('finds nothing in an empty file, or in one of a BOM alone', () => {
    expect(read([], { maxLineBytes: 10 })).toEqual([]);
    expect(read([Buffer.from('\ufeff')], { maxLineBytes: 10 })).toEqual([]);
    expect(read([Buffer.from('\ufeff\n')], { maxLineBytes: 10 })).toEqual([]);
  });

  it('takes a line of exactly the limit, and refuses one byte more, before \\r\\n and after a BOM', () => {
    const file = Buffer.from(`\ufeff${'x'.repeat(10)}\r\n${'y'.repeat(10)}\r\n${'z'.repeat(11)}\r\nend`);
    for (const size of [1, 5, 100])
      expect(read(cut(file, [size]), { maxLineBytes: 10 }).map(({ text }) => text)).toEqual([
        'x'.repeat(10),
        'y'.repeat(10),
        'TOO LONG',
        'end',
      ]);
  });

  it('does not hold a line over the limit, and goes on after it', () => {
    const reader = new LineReader({ maxLineBytes: 1000 });
    const chunk = Buffer.alloc(64 * 1024, 'x');
    for (let turn = 0; turn < 1000; turn++) expect([...reader.push(chunk)]).toEqual([]);
    const lines = [...reader.push(Buffer.from('x\n{}\n'))];
    expect(lines).toMatchObject([
      { line: 1, start: 0, end: 1000 * 64 * 1024 + 1, content: 'too_long' },
      { line: 2, terminated: true },
    ]);
  });

  it('gives views into the chunk, not copies', () => {
    const chunk = Buffer.from('{"a":1}\n{"b":2}\n');
    for (const { content } of new LineReader({ maxLineBytes: 100 }).push(chunk))
      expect(content !== 'too_long' && content.buffer).toBe(chunk.buffer);
  });

  it('reads a stream to its end', async () => {
    async function* chunks() {
      yield Buffer.from('{"a"');
      yield Buffer.from(':1}\n{}');
    }
    const texts: string[] = [];
    for await (const { content } of readLines(chunks(), { maxLineBytes: 100 })) texts.push(String(content));
    expect(texts).toEqual(['{"a":1}', '{}']);
  });
});
