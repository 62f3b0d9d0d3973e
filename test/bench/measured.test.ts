import { describe, expect, test } from 'vitest';
import { FIGURE_IDS } from '../../bench/figureTable.ts';
import { alternately, median, ratioOf, readingOf } from '../../bench/measured.ts';
import { requestLine, requestLines } from '../../bench/requestLines.ts';
import { belowFloor, resultsOf, resultsTable, standingOf } from '../../bench/results.ts';

describe('the arithmetic', () => {
  test('the median is the one in the middle, or halfway between the two', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 3, 10])).toBe(3.5);
    expect(() => median([])).toThrow(/median of nothing/);
  });

  test('a ratio is the median of the ratios of those that were measured next to each other', () => {
    // The machine was three times as fast in the last turn: both were.
    expect(ratioOf([50, 40, 180], [100, 100, 300])).toEqual({ value: 0.5, min: 0.4, max: 0.6 });
    expect(() => ratioOf([1, 2], [1])).toThrow(/2 measurements against 1/);
  });

  test('two things take turns at being first', async () => {
    const order: string[] = [];
    const taking = (name: string) => async (turn: number) => order.push(`${name}${turn}`);
    const { ours, theirs } = await alternately(3, taking('a'), taking('b'));
    expect(order).toEqual(['a0', 'b0', 'b1', 'a1', 'a2', 'b2']);
    expect(ours).toHaveLength(3);
    expect(theirs).toHaveLength(3);
  });
});

describe('the results', () => {
  const readings = {
    import_ms: readingOf([250, 240, 290]),
    validate: readingOf([0.9]),
    list_skip: readingOf([20, 30, 10], '357 read units'),
    fees_naive: readingOf([77]),
  };

  test('have every figure that was measured, in the order of the table, with its bounds', () => {
    const { machine, figures } = resultsOf(readings, 'two cores');
    expect(machine).toBe('two cores');
    expect(figures.map(({ id }) => id)).toEqual(['validate', 'fees_naive', 'list_skip', 'import_ms']);
    const [, naive, skip] = figures;
    expect(skip).toEqual({ id: 'list_skip', value: 20, min: 10, max: 30, floor: 15, goal: 10, unit: 'ratio' });
    expect(naive).toMatchObject({ floor: null, goal: null, unit: '$' });
  });

  test('say which of them are below their floor, where more is better and where less is', () => {
    expect(belowFloor(resultsOf(readings, ''))).toEqual(['list_skip']);
    const bounds = { what: '', unit: 'ratio', floor: 0.6, goal: 0.8 };
    const more = { ...bounds, better: 'more' } as const;
    expect([0.59, 0.6, 0.8].map((value) => standingOf(more, value))).toEqual([
      'below its floor',
      'short of its goal',
      'goal met',
    ]);
    const less = { ...bounds, better: 'less', floor: 1.2, goal: 1.1 } as const;
    expect([1.21, 1.2, 1.1].map((value) => standingOf(less, value))).toEqual([
      'below its floor',
      'short of its goal',
      'goal met',
    ]);
  });

  test('are printed as one table, with what is to be said of them below', () => {
    const text = resultsTable(readings);
    for (const part of ['250 ms', '240 – 290', '$', 'below its floor', 'list_skip: 357 read units'])
      expect(text).toContain(part);
    expect(text).not.toContain('pipeline_instant');
  });

  test('would have all fourteen figures', () => {
    expect(FIGURE_IDS).toHaveLength(14);
  });
});

test('every line has as many bytes as it should, and an id of its own', () => {
  const text = Buffer.concat([...requestLines({ lines: 1_234, lineBytes: 1_000 })]).toString();
  const lines = text.split('\n').slice(0, -1);
  expect(new Set(lines.map((line) => Buffer.byteLength(line)))).toEqual(new Set([999]));
  expect(new Set(lines.map((line) => (JSON.parse(line) as { custom_id: string }).custom_id)).size).toBe(1_234);
  expect(`${lines[41]}\n`).toBe(requestLine(42, { lineBytes: 1_000 }));
});
