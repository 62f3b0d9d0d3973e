import { expect, test } from 'vitest';
import { newestSnapshot, outlivedSnapshots } from '../../shared/domain/snapshots.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const URL_SECONDS = 900;
const ready = (...times: number[]) => times.map((readyAt, index) => ({ snapshot: index + 1, readyAt }));

test('the newest snapshot is offered until its files could be deleted while a URL to them is alive', () => {
  const snapshots = ready(0, 10 * HOUR);
  expect(newestSnapshot(snapshots, 11 * HOUR, URL_SECONDS)).toMatchObject({ snapshot: 2 });
  expect(newestSnapshot(snapshots, 33 * HOUR - 16 * MINUTE, URL_SECONDS)).toMatchObject({ snapshot: 2 });
  expect(newestSnapshot(snapshots, 33 * HOUR - 15 * MINUTE, URL_SECONDS)).toBeUndefined();
  expect(newestSnapshot([], 0, URL_SECONDS)).toBeUndefined();
});

test('a snapshot has outlived its URLs a quarter of an hour and a minute after the next was ready', () => {
  const snapshots = ready(0, 5 * MINUTE, 6 * MINUTE);
  const outlived = (now: number) => outlivedSnapshots(snapshots, now, URL_SECONDS).map(({ snapshot }) => snapshot);
  expect(outlived(21 * MINUTE - 1)).toEqual([]);
  expect(outlived(21 * MINUTE)).toEqual([1]);
  expect(outlived(22 * MINUTE)).toEqual([1, 2]);
  expect(outlived(1000 * HOUR)).toEqual([1, 2]);
});
