import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  countLines,
  FailedLines,
  type LineIndexEntry,
  LineIndexWriter,
  readLineIndex,
} from '../../../shared/domain/lines/lineIndex.ts';

const entries = fc
  .array(
    fc.record({
      // Mostly the next line; now and then one beyond what 32 bits count.
      gap: fc.oneof(
        { weight: 8, arbitrary: fc.constant(0) },
        { weight: 3, arbitrary: fc.integer({ min: 0, max: 300 }) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 6_000_000_000 }) },
      ),
      file: fc.constantFrom('o' as const, 'e' as const),
    }),
    { maxLength: 3_000 },
  )
  .map((steps) => {
    let line = 0;
    return steps.map(({ gap, file }): LineIndexEntry => {
      line += gap + 1;
      return { line, file };
    });
  });

function write(some: LineIndexEntry[], writer = new LineIndexWriter()): Uint8Array {
  for (const { line, file } of some) writer.add(line, file);
  return writer.bytes;
}

describe('the index of lines', () => {
  test('gives back what was written', () => {
    fc.assert(
      fc.property(entries, (some) => {
        const bytes = write(some);
        expect([...readLineIndex(bytes)]).toEqual(some);
        const errors = some.filter(({ file }) => file === 'e').length;
        expect(countLines(bytes)).toEqual({ output: some.length - errors, errors });
      }),
    );
  });

  test('tells which of the lines asked for have failed', () => {
    fc.assert(
      fc.property(entries, fc.array(fc.nat({ max: 4_000 })), (some, asked) => {
        const failed = new Set(some.filter(({ file }) => file === 'e').map(({ line }) => line));
        const index = new FailedLines(write(some));
        const lines = [...new Set([...asked, ...some.map(({ line }) => line)])].sort((a, b) => a - b);
        expect(lines.filter((line) => index.has(line))).toEqual([...failed]);
      }),
    );
  });

  test('is the same when it is written in two goes', () => {
    fc.assert(
      fc.property(entries, fc.nat(), (some, cut) => {
        const at = cut % (some.length + 1);
        const first = Uint8Array.from(write(some.slice(0, at)));
        expect(write(some.slice(at), new LineIndexWriter(first))).toEqual(write(some));
      }),
    );
  });

  test('takes a byte a line where no line is left out, and two where they are thousands apart', () => {
    const lines = 100_000;
    const dense = Array.from({ length: lines }, (_, index): LineIndexEntry => ({ line: index + 1, file: 'o' }));
    expect(write(dense)).toHaveLength(lines + 1);
    const sparse = dense.map(({ line }): LineIndexEntry => ({ line: line * 5_000, file: 'e' }));
    expect(write(sparse).length).toBeLessThanOrEqual(2 * lines + 2);
  });

  test('refuses lines out of order, and bytes that are none of its own', () => {
    const writer = new LineIndexWriter();
    writer.add(3, 'o');
    expect(() => writer.add(3, 'e')).toThrow('Line 3 does not come after line 3');
    expect(() => [...readLineIndex(new Uint8Array())]).toThrow('Not an index');
    expect(() => [...readLineIndex(Uint8Array.of(1, 0x80))]).toThrow('cut off');
  });
});
