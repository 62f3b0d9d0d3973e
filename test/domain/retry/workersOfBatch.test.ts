import { describe, expect, test } from 'vitest';
import { type ModelsFile, ModelsFileSchema } from '../../../shared/domain/models.ts';
import type { ModelLimits } from '../../../shared/domain/retry/callShare.ts';
import { workersOfBatch } from '../../../shared/domain/retry/workersOfBatch.ts';

const SETTINGS = { maxWorkers: 50, inFlightMax: 64 };

function file(limits: Record<string, ModelLimits | undefined>): ModelsFile {
  return ModelsFileSchema.parse({
    providers: { p: { kind: 'simulator' } },
    models: Object.fromEntries(
      Object.entries(limits).map(([name, limits]) => [
        name,
        { provider: 'p', model: name, endpoints: ['chat/completions'], ...(limits && { limits }) },
      ]),
    ),
  });
}

describe('workers of a batch', () => {
  test.each([
    ['calls that take a minute each are in flight at 10 a second', { requests_per_minute: 600 }, 10],
    ['a slow model reads and writes 1,280 tokens a second for one worker', { tokens_per_minute: 600_000 }, 8],
    ['each has eight of the calls in flight', { calls_in_flight: 20 }, 3],
    ['the narrowest limit counts', { requests_per_minute: 600, calls_in_flight: 20 }, 3],
    ['one runs in any case', { requests_per_minute: 1 }, 1],
    ['no more than the setting', { requests_per_minute: 1_000_000 }, 50],
  ])('%s', (_, limits, workers) => {
    expect(workersOfBatch({ shards: 500, models: ['m'] }, file({ m: limits }), SETTINGS)).toBe(workers);
  });

  test('the models of a batch feed its workers together; one without limits feeds as many as there may be', () => {
    const models = file({ a: { calls_in_flight: 16 }, b: { calls_in_flight: 8 }, open: undefined });
    const workers = (names: string[] | undefined) => workersOfBatch({ shards: 500, models: names }, models, SETTINGS);
    expect(workers(['a', 'b'])).toBe(3);
    expect(workers(['a', 'open'])).toBe(50);
    expect(workers(['a', 'gone'])).toBe(50);
    // Laid down by a version that did not note the models.
    expect(workers(undefined)).toBe(50);
  });

  test('are no more than its shards', () => {
    expect(workersOfBatch({ shards: 2, models: undefined }, file({}), SETTINGS)).toBe(2);
  });
});
