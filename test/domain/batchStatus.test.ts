import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  BATCH_STATUSES,
  type BatchStatus,
  isEnded,
  priorStatuses,
  TRANSITIONS,
} from '../../shared/domain/batchStatus.ts';

const nextStatuses = (from: BatchStatus): readonly BatchStatus[] => TRANSITIONS[from];

/** A walk from the start: each step picks one of the ways that the table leaves open. */
const walks = fc.array(fc.nat(), { maxLength: 20 }).map((choices) => {
  const walk: BatchStatus[] = ['validating'];
  for (const choice of choices) {
    const ways = nextStatuses(walk.at(-1) ?? 'validating');
    const next = ways[choice % Math.max(1, ways.length)];
    if (next) walk.push(next);
  }
  return walk;
});

test('the table has a row for each status', () => {
  expect(Object.keys(TRANSITIONS).toSorted()).toEqual([...BATCH_STATUSES].toSorted());
});

test('every walk enters no status twice, and each step is one that priorStatuses allows', () => {
  void fc.assert(
    fc.property(walks, (walk) => {
      expect(new Set(walk).size).toBe(walk.length);
      for (const [at, to] of walk.entries()) {
        const from = walk[at - 1];
        if (from) expect(priorStatuses(to)).toContain(from);
      }
    }),
  );
});

test('every walk that goes on for long enough has ended, and stays there', () => {
  void fc.assert(
    fc.property(fc.array(fc.nat(), { minLength: 10, maxLength: 10 }), (choices) => {
      let status: BatchStatus = 'validating';
      for (const choice of choices) {
        const ways = nextStatuses(status);
        status = ways[choice % Math.max(1, ways.length)] ?? status;
      }
      expect(isEnded(status)).toBe(true);
      for (const to of BATCH_STATUSES) expect(priorStatuses(to)).not.toContain(status);
    }),
  );
});

test('priorStatuses is the table read backwards', () => {
  for (const from of BATCH_STATUSES)
    for (const to of BATCH_STATUSES) expect(priorStatuses(to).includes(from)).toBe(nextStatuses(from).includes(to));
});

test('from every open status a batch can be cancelled or is being cancelled, and can fail', () => {
  const reaches = (from: BatchStatus, to: BatchStatus): boolean =>
    from === to || nextStatuses(from).some((next) => reaches(next, to));
  for (const status of BATCH_STATUSES.filter((each) => !isEnded(each))) {
    expect(reaches(status, 'cancelled')).toBe(true);
    expect(reaches(status, 'failed')).toBe(true);
  }
});
