import { expect, test } from 'vitest';
import { ChunkBuffers } from '../../../shared/usecases/finalizeBatch/chunkBuffers.ts';
import { ShardSegments } from '../../../shared/usecases/finalizeBatch/shardSegments.ts';

const PIECE_BYTES = 64 * 1024;
const LINES = 40;

/** What comes back is written over at once, as a later read would some time. */
class OverwrittenBuffers extends ChunkBuffers {
  override give(buffer: Buffer): void {
    Buffer.from(buffer.buffer).fill('#');
    super.give(buffer);
  }
}

/** Segments at hand, read in pieces. */
function filesOf(bodies: Map<string, Buffer>) {
  return {
    async read(key: string, { start = 0, end = 0 }: { start?: number; end?: number } = {}) {
      const body = bodies.get(key) ?? Buffer.alloc(0);
      return (async function* () {
        for (let at = start; at < end; at += PIECE_BYTES) yield body.subarray(at, Math.min(at + PIECE_BYTES, end));
      })();
    },
  };
}

/** Lines of up to 400 KB, each another than those before and after it. */
const jsonOf = (line: number) => `{"${line}":"${String(line % 7).repeat((line * 79_193) % 400_000)}"}`;

/** Two segments of 4 MB, of the odd and of the even lines: several chunks of 2 MB each. */
function segmentsOf(first: number) {
  const bodies = new Map<string, Buffer>();
  const segments = [0, 1].map((odd) => {
    const lines = Array.from({ length: LINES / 2 }, (_, index) => first + 2 * index + odd);
    const key = `${first}-${odd}`;
    const body = Buffer.from(lines.map((line) => `${line} o ${jsonOf(line)}\n`).join(''));
    bodies.set(key, body);
    return { key, bytes: body.length, first: lines[0] ?? 0, last: lines.at(-1) ?? 0 };
  });
  return { bodies, segments };
}

test("a line's bytes are good until the next is asked for, and what is read over it later is not seen", async () => {
  const buffers = new OverwrittenBuffers();
  for (let first = 1; first < 3 * LINES; first += LINES) {
    const { bodies, segments } = segmentsOf(first);
    const results = new ShardSegments(filesOf(bodies), segments, { buffers, onMissing: async () => undefined });
    for (let line = first; line < first + LINES; line++) {
      const result = await results.take(line);
      expect(Buffer.from(result?.json ?? []).toString() === jsonOf(line)).toBe(true);
    }
    results.close();
  }
});
