import { describe, expect, test } from 'vitest';
import { createProgress, createRate, formatSeconds } from '../../cli/progress.ts';

describe('progress', () => {
  test('the rate follows the last seconds, not the whole life of the batch', () => {
    let now = 0;
    const rate = createRate(() => now);
    rate(0, 10_000);
    now = 1_000;
    expect(rate(100, 10_000)).toEqual({ perSecond: 100, secondsLeft: 99 });
    for (let second = 2; second <= 60; second++) {
      now = second * 1_000;
      rate(100, 10_000);
    }
    expect(rate(100, 10_000)).toEqual({ perSecond: 0, secondsLeft: undefined });
  });

  test.each([
    [undefined, '–'],
    [3.2, '4s'],
    [75, '1m 15s'],
    [3_700, '1h 1m'],
  ])('%s seconds read as %s', (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });

  test('without a terminal a line is written when the status changes, not at each look', () => {
    const lines: string[] = [];
    const progress = createProgress(false, (line) => lines.push(line));
    progress.show({ status: 'validating', done: 0, failed: 0, total: 0 });
    progress.show({ status: 'validating', done: 0, failed: 0, total: 0 });
    progress.show({ status: 'in_progress', done: 5, failed: 1, total: 10 });
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(/^in_progress 5\/10 done, 1 failed/);
  });
});
