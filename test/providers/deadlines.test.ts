import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Deadlines, type Waiting } from '../../shared/providers/deadlines.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test('each ends at its own time, in whatever order they were added, and none that was removed', async () => {
  const deadlines = new Deadlines();
  const ended: string[] = [];
  const start = performance.now();
  const wait = (name: string, ms: number) => {
    const one: Waiting = {
      endsAt: start + ms,
      placeInLine: -1,
      onTimeout() {
        ended.push(`${name} ${Math.round(performance.now() - start)}`);
        deadlines.remove(one);
      },
    };
    deadlines.add(one);
    return one;
  };
  wait('a', 300);
  const answered = wait('b', 50);
  wait('c', 100);
  wait('d', 100);
  const late = wait('e', 400);
  deadlines.remove(answered);
  await vi.advanceTimersByTimeAsync(99);
  expect(ended).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(ended).toEqual(['c 100', 'd 100']);
  await vi.advanceTimersByTimeAsync(250);
  expect(ended.slice(2)).toEqual(['a 300']);
  deadlines.remove(late);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ended).toHaveLength(3);
  // Set anew after a time in which nobody waited.
  wait('f', 1_500);
  await vi.advanceTimersByTimeAsync(200);
  expect(ended.slice(3)).toEqual(['f 1500']);
});
