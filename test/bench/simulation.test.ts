import { describe, expect, test } from 'vitest';
import { totalFees } from '../../bench/fees/billedUse.ts';
import type { Job } from '../../bench/forecast/batchPlan.ts';
import { shareOf } from '../../bench/growth/limits.ts';
import { simulate } from '../../bench/growth/simulation.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';

const SETTINGS = SettingsSchema.parse({});
const job = (lines: number, more: Partial<Job> = {}): Job => ({
  lines,
  lineBytes: 1_000,
  answerBytes: 2_200,
  latencyMs: 1_000,
  ...more,
});
const MILLION = 1_000_000;

describe('up to 100,000,000 lines', () => {
  test.each([
    [MILLION, {}],
    [10 * MILLION, {}],
    [100 * MILLION, {}],
    [100 * MILLION, { latencyMs: 20 }],
    [100 * MILLION, { latencyMs: 60_000, answerBytes: 20_000 }],
    [MILLION, { lineBytes: 100_000, answerBytes: 100_000 }],
    [10_000, { lineBytes: 10_000_000, answerBytes: 10_000_000 }],
  ] as [number, Partial<Job>][])('%d lines (%o) come near no limit of AWS that they would pass', (lines, more) => {
    const { limits } = simulate(job(lines, more), SETTINGS);
    const passed = limits.filter((limit) => shareOf(limit) > 1);
    expect(passed).toEqual([]);
  });

  test('a hundred times the lines cost a hundred times the fees, not more', () => {
    const one = totalFees(simulate(job(MILLION), SETTINGS).use);
    const hundred = totalFees(simulate(job(100 * MILLION), SETTINGS).use);
    expect(hundred / one).toBeLessThanOrEqual(100.001);
  });

  test('a batch of one million lines is one run', () => {
    const { batches, inOneRun } = simulate(job(MILLION), SETTINGS);
    expect(batches).toBe(1);
    expect(inOneRun).toEqual([]);
  });

  test('more are cut into batches of the bounds that validation keeps', () => {
    const byLines = simulate(job(2 * MILLION + 1), SETTINGS);
    expect(byLines).toMatchObject({ batches: 3, linesPerBatch: MILLION });
    expect(byLines.inOneRun.map(({ limit }) => limit)).toContain('lines of a batch');
    const byBytes = simulate(job(MILLION, { lineBytes: 10_000 }), SETTINGS);
    expect(byBytes).toMatchObject({ batches: 2 });
    expect(byBytes.inOneRun.map(({ limit }) => limit)).toEqual(['bytes of an input file']);
  });

  test('one run of 100,000,000 lines would meet a limit of AWS first in Validate', () => {
    const { inOneRun } = simulate(job(100 * MILLION), SETTINGS);
    const first = inOneRun.find(({ of }) => of === 'AWS');
    expect(first?.limit).toMatch(/in Validate$/);
  });
});

describe('the account', () => {
  test('bears the workers of all batches that run at once', () => {
    const { atOnce, peakWorkers, plan } = simulate(job(100 * MILLION), SETTINGS);
    expect(peakWorkers).toBe(atOnce * plan.workers);
    expect(peakWorkers).toBeLessThanOrEqual(900);
    expect((atOnce + 1) * plan.workers).toBeGreaterThan(900);
  });

  test('with fewer workers than a batch would have runs one batch at a time, and longer', () => {
    const few = simulate(job(2 * MILLION, { workersAtMost: 10 }), SETTINGS);
    expect(few).toMatchObject({ atOnce: 1, peakWorkers: 10 });
    expect(few.seconds).toBeGreaterThan(simulate(job(2 * MILLION), SETTINGS).seconds);
  });
});

describe('a limited model', () => {
  test('decides how long it takes, however many batches share it', () => {
    const minutes = 100;
    const { seconds } = simulate(job(4 * MILLION, { requestsPerMinute: (4 * MILLION) / minutes }), SETTINGS);
    expect(seconds / 60).toBeGreaterThanOrEqual(minutes);
    expect(seconds / 60).toBeLessThan(1.2 * minutes);
  });
});
