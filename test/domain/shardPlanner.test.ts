import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineTable } from '../../shared/domain/lines/lineTable.ts';
import { initialBitmap, isBitSet, type ShardRange } from '../../shared/domain/shard.ts';
import { cutShards, type ShardLimits } from '../../shared/domain/shardPlanner.ts';

type Line = { line: number; start: number; end: number; bad: boolean };

/** Lines with blank ones between them. */
function layOut(parts: { bytes: number; bad: boolean; blanksBefore: number }[]): Line[] {
  let line = 0;
  let offset = 0;
  return parts.map(({ bytes, bad, blanksBefore }) => {
    line += blanksBefore + 1;
    offset += blanksBefore;
    const start = offset;
    offset += bytes + 1;
    return { line, start, end: start + bytes, bad };
  });
}

function cut(lines: Line[], limits: ShardLimits): ShardRange[] {
  const table = new LineTable();
  for (const line of lines) table.add(line, line.bad);
  return [...cutShards(table, limits)];
}

const limits: ShardLimits = { maxLines: 2_000, maxBytes: 64 * 1024 * 1024, maxWorkers: 50, minLines: 50 };
const good = (count: number, bytes = 100) => layOut(Array(count).fill({ bytes, bad: false, blanksBefore: 0 }));

describe('the shard planner', () => {
  it('puts every runnable line into exactly one shard, in order, within the limits', () => {
    const files = fc
      .array(
        fc.record({
          bytes: fc.integer({ min: 1, max: 50 }),
          bad: fc.boolean(),
          blanksBefore: fc.constantFrom(0, 0, 0, 1, 30),
        }),
        { maxLength: 120 },
      )
      .map(layOut);
    const anyLimits = fc.record({
      maxLines: fc.integer({ min: 1, max: 40 }),
      maxBytes: fc.integer({ min: 1, max: 300 }),
      maxWorkers: fc.integer({ min: 1, max: 5 }),
      minLines: fc.integer({ min: 1, max: 10 }),
    });
    fc.assert(
      fc.property(files, anyLimits, (lines, some) => {
        const shards = cut(lines, some);
        const seen: number[] = [];
        let end = 0;
        for (const [index, shard] of shards.entries()) {
          expect(shard.shard).toBe(index);
          expect(shard.start).toBeGreaterThanOrEqual(end);
          end = shard.end;
          expect(shard.lines).toBeLessThanOrEqual(some.maxLines);
          if (shard.runnable > 1) expect(shard.end - shard.start).toBeLessThanOrEqual(some.maxBytes);
          const skip = initialBitmap(shard);
          const runnable: number[] = [];
          for (let at = 0; at < shard.lines; at++) if (!isBitSet(skip, at)) runnable.push(shard.firstLine + at);
          expect(runnable.length).toBe(shard.runnable);
          expect(shard.skip === undefined).toBe(shard.runnable === shard.lines);
          expect(runnable[0]).toBe(shard.firstLine);
          expect(runnable.at(-1)).toBe(shard.firstLine + shard.lines - 1);
          seen.push(...runnable);
          const inside = lines.filter((line) => runnable.includes(line.line));
          expect(inside[0]?.start).toBe(shard.start);
          expect(inside.at(-1)?.end).toBe(shard.end);
        }
        expect(seen).toEqual(lines.filter((line) => !line.bad).map((line) => line.line));
      }),
      { numRuns: 400 },
    );
  });

  it('shares a small batch among the workers, but not below the smallest shard', () => {
    expect(cut(good(5_000), limits).map((shard) => shard.lines)).toEqual(Array(50).fill(100));
    expect(cut(good(120), limits).map((shard) => shard.lines)).toEqual([50, 50, 20]);
    expect(cut(good(1), limits)).toEqual([{ shard: 0, start: 0, end: 100, firstLine: 1, lines: 1, runnable: 1 }]);
  });

  it('cuts a large batch into full rounds of all workers, at the most lines that a shard may have or a little under', () => {
    const full = cut(good(200_000), limits);
    expect(full.length).toBe(2 * limits.maxWorkers);
    expect(full.every((shard) => shard.lines === 2_000)).toBe(true);
    const shards = cut(good(250_000), limits);
    expect(shards.length).toBe(3 * limits.maxWorkers);
    expect(shards.every((shard) => shard.lines === 1_667 || shard === shards.at(-1))).toBe(true);
  });

  it('makes no shard of bad lines alone', () => {
    expect(cut(layOut(Array(10).fill({ bytes: 5, bad: true, blanksBefore: 1 })), limits)).toEqual([]);
  });
});
