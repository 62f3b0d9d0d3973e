import { functions } from '../shared/contract/functions.ts';
import type { MeteredLine } from '../shared/contract/metered.ts';
import type { Settings } from '../shared/contract/settings.ts';
import { type CountedBatch, runCounted } from './counted/countedRun.ts';
import { addUse, type BilledUse, feesOf, NO_USE, type Service, totalFees } from './fees/billedUse.ts';
import { billedUseOf } from './fees/meteredUse.ts';
import { planBatch } from './forecast/batchPlan.ts';

/**
 * A million lines are cut into larger ones (20,000 for 50 workers), each of which takes five minutes at a second a call.
 * Of these two runs a million lines come to some 56 shards, not 50, with smaller records: within a percent of the fees.
 */
const SHARD_LINES = 10_000;
const SMALL_LINES = 2_000;
const LARGE_LINES = 10 * SMALL_LINES;
/** Large enough that what each batch takes whatever its size is a few percent. */
const GROWTH_LINES = 20_000;
const GROWTH_LATENCY_MS = 20;
const LINE_BYTES = 1_000;
const LATENCY_MS = 1_000;
const MILLION = 1e6;

export type FeeFigures = {
  /** Dollars for 1,000,000 lines of 1 KB at 1 s a call. */
  fees_per_million: number;
  /** Dollars for the same lines with a child execution for each. */
  fees_naive: number;
  /** What `fees_per_million` is made of. */
  use: BilledUse;
  byService: Record<Service, number>;
};

/**
 * Counts two real runs with a stage's settings (over three minutes, nearly all of it waiting for the simulated model),
 * and scales what they used to a million lines.
 */
export async function measureFees(settings: Settings, onProgress?: (text: string) => void): Promise<FeeFigures> {
  const { small, large } = await countTwo(settings, [SMALL_LINES, LARGE_LINES], LATENCY_MS, onProgress);
  return feeFigures(small, large);
}

/**
 * How fees grow with the lines. Two real runs are counted, of 20,000 and of 200,000 lines; at a second a call the second
 * would take half an hour here, so the model answers after 20 ms, and what a slow model adds is computed (`atLatency`).
 */
export async function measureFeesGrowth(settings: Settings, onProgress?: (text: string) => void): Promise<number> {
  const lines = [GROWTH_LINES, 10 * GROWTH_LINES] as const;
  const { small, large } = await countTwo(settings, lines, GROWTH_LATENCY_MS, onProgress);
  return feesGrowth(small, large, settings);
}

async function countTwo(
  settings: Settings,
  sizes: readonly [number, number],
  latencyMs: number,
  onProgress?: (text: string) => void,
): Promise<{ small: CountedBatch; large: CountedBatch }> {
  const [small, large] = await runCounted({
    batches: sizes.map((lines) => ({ lines, lineBytes: LINE_BYTES })),
    latencyMs,
    settings: withFullShards(settings),
    ...(onProgress ? { onProgress } : {}),
  });
  if (!small || !large) throw new Error('Two batches were to be counted');
  return { small, large };
}

/** Not cut smaller for the sake of sharing: a million lines are enough for full shards. */
function withFullShards(settings: Settings): Settings {
  return { ...settings, shards: { ...settings.shards, maxLines: SHARD_LINES, minLines: SHARD_LINES } };
}

export function feesGrowth(small: CountedBatch, large: CountedBatch, settings: Settings): number {
  return totalFees(atLatency(large, settings)) / totalFees(atLatency(small, settings));
}

/**
 * Counted: every transition, request and unit, and the milliseconds of all steps but the workers. Computed, as for the
 * forecast: how long the workers wait for a model that takes a second a call, and their looks at the control record
 * meanwhile.
 */
function atLatency({ lines, lineBytes, metered }: CountedBatch, settings: Settings): BilledUse {
  const workers = metered.filter((line) => line.function === 'runShard');
  const counted = withFewLooks(metered).map((line) =>
    line.function === 'runShard' ? { ...line, duration_ms: 0, init_ms: 0 } : line,
  );
  const memoryMb = functions['workflow/runShard'].memoryMb;
  const job = { lines, lineBytes, answerBytes: lineBytes, latencyMs: LATENCY_MS };
  const { shardSeconds } = planBatch(job, withFullShards(settings), memoryMb);
  return addUse(billedUseOf(counted), {
    lambdaGbSeconds: workers.length * shardSeconds * (memoryMb / 1_024),
    dynamoDbReadUnits: workers.length * Math.floor(shardSeconds / settings.worker.controlEverySeconds),
  });
}

export function feeFigures(small: CountedBatch, large: CountedBatch): FeeFigures {
  const of = (batch: CountedBatch) => ({ lines: batch.lines, use: billedUseOf(withFewLooks(batch.metered)) });
  const [few, many] = [of(small), of(large)];
  const use = scaleUse(few, many, MILLION);
  return {
    fees_per_million: totalFees(use),
    fees_naive: totalFees(naiveUse(MILLION, LATENCY_MS)),
    use,
    byService: feesOf(use),
  };
}

/** The counting client looks each second at how things are; one that pays for it does so each minute. */
function withFewLooks(metered: readonly MeteredLine[]): MeteredLine[] {
  let looks = 0;
  return metered.filter((line) => line.function !== 'getBatch' || looks++ % 60 === 0);
}

type Counted = { lines: number; use: BilledUse };

/** Along the line through both: what each further line takes, and what a batch takes whatever its size. */
export function scaleUse(few: Counted, many: Counted, lines: number): BilledUse {
  const factor = (lines - few.lines) / (many.lines - few.lines);
  return addUse(addUse(few.use, many.use, factor), few.use, -factor);
}

/** The smallest that Lambda has: one call in flight needs no more. */
const NAIVE_MEMORY_MB = 128;

/**
 * The least that a child execution a line would use: it is dispatched, runs one Task and ends; the Task is one invocation
 * that waits for its call, after one read of the line, and leaves one record of a unit as its result.
 */
export function naiveUse(lines: number, latencyMs: number): BilledUse {
  const line: Partial<BilledUse> = {
    stateTransitions: 3,
    lambdaRequests: 1,
    lambdaGbSeconds: (latencyMs / 1_000) * (NAIVE_MEMORY_MB / 1_024),
    s3Gets: 1,
    dynamoDbWriteUnits: 1,
  };
  return addUse(NO_USE, line, lines);
}
