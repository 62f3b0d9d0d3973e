import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeSegment, segmentEntry } from '../../../shared/domain/lines/segment.ts';
import { SegmentReader } from '../../../shared/usecases/finalizeBatch/segmentReader.ts';

/** The one method of the file store that the reader uses, over bytes at hand, in pieces of any size. */
function filesOf(body: Buffer, pieceBytes: number) {
  const reads: number[] = [];
  return {
    reads,
    async read(_key: string, { start = 0, end = body.length }: { start?: number; end?: number } = {}) {
      reads.push(end - start);
      return (async function* () {
        for (let at = start; at < end; at += pieceBytes) yield body.subarray(at, Math.min(at + pieceBytes, end));
      })();
    },
  };
}

const entries = fc.array(
  fc.record({ file: fc.constantFrom('o' as const, 'e' as const), value: fc.string({ unit: 'binary' }) }),
);

async function readAll(reader: SegmentReader) {
  const read: { line: number; file: string; json: string }[] = [];
  for (await reader.advance(); reader.current; await reader.advance()) {
    const { line, file, json } = reader.current;
    read.push({ line, file, json: Buffer.from(json).toString() });
  }
  return read;
}

describe('the reader of a segment', () => {
  test('gives the entries that were written, whatever the chunks', async () => {
    await fc.assert(
      fc.asyncProperty(
        entries,
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 1, max: 64 }),
        async (some, chunkBytes, piece) => {
          const written = some.map(({ file, value }, index) => ({
            line: index + 1,
            file,
            json: JSON.stringify(value),
          }));
          const body = encodeSegment(written.map(({ line, file, json }) => segmentEntry(line, file, json)));
          const reader = new SegmentReader(filesOf(body, piece), { key: 'a', bytes: body.length }, { chunkBytes });
          expect(await readAll(reader)).toEqual(written);
          expect(reader.position).toBe(body.length);
        },
      ),
    );
  });

  test('goes on from any position that it has given', async () => {
    await fc.assert(
      fc.asyncProperty(entries, fc.nat(), fc.integer({ min: 1, max: 64 }), async (some, at, chunkBytes) => {
        const written = some.map(({ file, value }, index) => ({ line: index + 1, file, json: JSON.stringify(value) }));
        const body = encodeSegment(written.map(({ line, file, json }) => segmentEntry(line, file, json)));
        const segment = { key: 'a', bytes: body.length };
        const first = new SegmentReader(filesOf(body, 16), segment, { chunkBytes });
        const passed = at % (written.length + 1);
        for (let entry = 0; entry < passed; entry++) await first.advance();
        const second = new SegmentReader(filesOf(body, 16), segment, { chunkBytes, start: first.position });
        expect(await readAll(second)).toEqual(written.slice(passed));
      }),
    );
  });

  test('reads a line far longer than a chunk in few reads', async () => {
    const body = encodeSegment([segmentEntry(1, 'o', JSON.stringify('x'.repeat(1_000_000)))]);
    const files = filesOf(body, 65_536);
    const reader = new SegmentReader(files, { key: 'a', bytes: body.length }, { chunkBytes: 1_000 });
    expect(await readAll(reader)).toHaveLength(1);
    expect(files.reads.length).toBeLessThan(20);
  });

  test.each([
    ['cut off in the middle of a line', (body: Buffer) => body.subarray(0, -2), 0],
    ['shorter than its record says', (body: Buffer) => body.subarray(0, -2), 2],
  ])('refuses a segment that is %s', async (_, cut, missing) => {
    const body = cut(encodeSegment([segmentEntry(1, 'o', '{}')]));
    const reader = new SegmentReader(filesOf(body, 16), { key: 'a', bytes: body.length + missing }, { chunkBytes: 8 });
    await expect(readAll(reader)).rejects.toThrow(/cut off|shorter/);
  });
});
