import { beforeAll, describe, expect, test } from 'vitest';
import { type CountedBatch, runCounted } from '../../bench/counted/countedRun.ts';
import { type BilledUse, feesOf } from '../../bench/fees/billedUse.ts';
import { billedUseOf } from '../../bench/fees/meteredUse.ts';
import { feeFigures, feesGrowth } from '../../bench/fees.ts';
import { type Forecast, forecastBatch } from '../../bench/forecast/forecast.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';

/** Small shards and small commits, so that a small batch has many of both. */
const SETTINGS = SettingsSchema.parse({ shards: { maxLines: 500, minLines: 500 }, worker: { commitLines: 125 } });
/** Long beside a commit on a busy machine: results that come while one is under way make the next one larger. */
const LATENCY_MS = 300;
const LINE_BYTES = 1_000;

let counted: CountedBatch[];
beforeAll(async () => {
  counted = await runCounted({
    settings: SETTINGS,
    latencyMs: LATENCY_MS,
    batches: [500, 4_000].map((lines) => ({ lines, lineBytes: LINE_BYTES })),
  });
});

function bothOf(index: number): { batch: CountedBatch; counts: BilledUse; forecast: Forecast } {
  const batch = counted[index];
  if (!batch) throw new Error(`There is no counted batch ${index}`);
  const counts = billedUseOf(batch.metered);
  const { lines, lineBytes } = batch;
  const forecast = forecastBatch({ lines, lineBytes, answerBytes: lineBytes, latencyMs: LATENCY_MS }, SETTINGS, {
    // How often its client asks is the client's affair.
    requests: () => counts.apiRequests,
  });
  return { batch, counts, forecast };
}

describe.each([
  [0, 'one shard'],
  [1, 'eight shards'],
])('the forecast of a batch of few lines (%#)', (index, name) => {
  test(`has the invocations and transitions of ${name} as counted`, () => {
    const { counts, forecast } = bothOf(index);
    expect(forecast.use.lambdaRequests).toBe(counts.lambdaRequests);
    expect(forecast.use.stateTransitions).toBe(counts.stateTransitions);
  });

  test(`agrees with the counted requests and units of ${name} within a quarter`, () => {
    const { counts, forecast } = bothOf(index);
    // What Step Functions itself asks of S3 is no function's, so no meter counts it.
    const map = forecast.parts.map;
    const expected = {
      s3Puts: forecast.use.s3Puts - map.s3Puts,
      s3Gets: forecast.use.s3Gets - map.s3Gets,
      dynamoDbWriteUnits: forecast.use.dynamoDbWriteUnits,
      dynamoDbReadUnits: forecast.use.dynamoDbReadUnits,
    };
    for (const [unit, value] of Object.entries(expected)) {
      const count = counts[unit as keyof BilledUse];
      expect(Math.abs(value - count) / count, `${unit}: forecast ${value}, counted ${count}`).toBeLessThan(0.25);
    }
  });

  test(`has transitions for ${name} that the local Step Functions has seen`, () => {
    const { batch, counts } = bothOf(index);
    expect(counts.stateTransitions).toBe(batch.stateTransitions);
  });
});

test('what a worker is charged for is at least the time that its calls take', () => {
  const { batch } = bothOf(1);
  const workers = batch.metered.filter((line) => line.function === 'runShard');
  const leastMs = (500 / SETTINGS.worker.inFlightMax) * LATENCY_MS;
  expect(workers).toHaveLength(8);
  for (const { duration_ms, cpu_ms = 0 } of workers) {
    expect(duration_ms).toBeGreaterThan(leastMs);
    expect(cpu_ms).toBeGreaterThan(0);
  }
});

test('fees grow no faster than lines', () => {
  const [small, large] = [bothOf(0), bothOf(1)];
  const { fees_per_million, fees_naive } = feeFigures(small.batch, large.batch);
  const growth = feesGrowth(small.batch, large.batch, SETTINGS);
  expect(growth).toBeGreaterThan(1);
  expect(growth).toBeLessThan(large.batch.lines / small.batch.lines);
  expect(fees_per_million).toBeGreaterThan(0);
  expect(fees_naive / fees_per_million).toBeGreaterThan(50);
});

test('no service is left out of the fees', () => {
  const { counts } = bothOf(1);
  const { 'Secrets Manager': secrets, ...others } = feesOf(counts);
  expect(secrets).toBe(0);
  for (const [service, dollars] of Object.entries(others)) expect(dollars, service).toBeGreaterThan(0);
});
