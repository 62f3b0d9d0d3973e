import { expect, test } from 'vitest';
import { addUse, feesOf, NO_USE, totalFees } from '../../bench/fees/billedUse.ts';
import { readMeteredLines } from '../../bench/fees/meteredLog.ts';
import { transitionsOf } from '../../bench/fees/meteredUse.ts';
import { naiveUse, scaleUse } from '../../bench/fees.ts';

test('fees are amounts times list prices, by service', () => {
  const fees = feesOf({ ...NO_USE, stateTransitions: 4_000, s3Puts: 1_000, s3Gets: 10_000, lambdaGbSeconds: 10_000 });
  expect(fees['Step Functions']).toBeCloseTo(0.1);
  expect(fees.S3).toBeCloseTo(0.009);
  expect(fees.Lambda).toBeCloseTo(0.133334);
  expect(fees.DynamoDB).toBe(0);
});

test('a batch is scaled by what each further line takes, with what every batch takes once', () => {
  const useOf = (lines: number) => addUse(NO_USE, { stateTransitions: 17 + lines / 400, s3Gets: 9 });
  const at = (lines: number) => ({ lines, use: useOf(lines) });
  expect(scaleUse(at(2_000), at(20_000), 1_000_000)).toEqual(useOf(1_000_000));
});

test('a child execution a line costs a hundred times as much and more', () => {
  expect(totalFees(naiveUse(1_000_000, 1_000))).toBeGreaterThan(75);
});

test('a shard that needs a second turn and a wait is charged for both', () => {
  const turns = ['again', 'wait', 'end'].map((next) => transitionsOf({ function: 'runShard', next }));
  // Three Tasks with their Choices, one Wait, one Succeed, the end, the dispatch.
  expect(turns.reduce((sum, each) => sum + each)).toBe(6 + 1 + 1 + 1 + 1);
});

test('metered lines are found among others, also behind what CloudWatch puts before them', () => {
  const line = {
    message: 'metered',
    timestamp: '2026-01-15T10:30:00.000Z',
    function: 'planShards',
    kind: 'step',
    next: 'process',
    duration_ms: 20,
    memory_mb: 512,
    dynamodb: { read_units: 3, write_units: 1, refused_writes: 0, requests: 4 },
    s3: { puts: 2, gets: 2, free: 0 },
    states: { requests: 0 },
    secrets: { requests: 0 },
  };
  const text = `START RequestId: 1\n2026-01-15 INFO ${JSON.stringify({ ...line, level: 'INFO' })}\n{"message":"step"}\n{"message":"metered"}\n{"message":"metered","dur`;
  expect(readMeteredLines(text)).toEqual([line]);
});
