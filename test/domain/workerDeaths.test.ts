import { expect, test } from 'vitest';
import { cautionAfter, deathsAfterCommit } from '../../shared/domain/workerDeaths.ts';

test('workers become more careful with each death, and blame a line only after three that ran it alone', () => {
  expect(cautionAfter(0)).toMatchObject({ linesAtOnce: undefined, expectLargest: false, alone: false });
  expect(cautionAfter(1)).toMatchObject({ linesAtOnce: 16, expectLargest: true, alone: false, maxLines: 1_000 });
  for (const deaths of [2, 3, 4]) {
    expect(cautionAfter(deaths)).toMatchObject({ linesAtOnce: 1, alone: true, giveUpFirst: false, maxLines: 48 });
  }
  for (const deaths of [5, 6, 100]) expect(cautionAfter(deaths)).toMatchObject({ giveUpFirst: true, maxLines: 1 });
});

test('a commit clears the deaths; of a worker that runs lines alone only once it has passed those in question', () => {
  for (const deaths of [0, 1]) expect(deathsAfterCommit(cautionAfter(deaths), false)).toBe(0);
  for (const deaths of [2, 3, 4]) {
    // Itself and the two that are not about a line: when it dies of the next one, that is the first death of that line.
    expect(deathsAfterCommit(cautionAfter(deaths), false)).toBe(3);
    expect(deathsAfterCommit(cautionAfter(deaths), true)).toBe(0);
  }
});
