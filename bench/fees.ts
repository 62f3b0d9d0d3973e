import type { MeteredLine } from '../shared/contract/metered.ts';
import type { Settings } from '../shared/contract/settings.ts';
import { type CountedBatch, runCounted } from './counted/countedRun.ts';
import { addUse, type BilledUse, feesOf, NO_USE, type Service, totalFees } from './fees/billedUse.ts';
import { billedUseOf } from './fees/meteredUse.ts';

/** A batch of which shards are as full as those of a million lines, and one ten times as large. */
const SMALL_LINES = 2_000;
const LARGE_LINES = 10 * SMALL_LINES;
const LINE_BYTES = 1_000;
const LATENCY_MS = 1_000;
const MILLION = 1e6;

export type FeeFigures = {
  /** Dollars for 1,000,000 lines of 1 KB at 1 s a call. */
  fees_per_million: number;
  /** Fees of ten times as many lines, as a multiple; both counted. */
  fees_growth: number;
  /** Dollars for the same lines with a child execution for each. */
  fees_naive: number;
  /** What `fees_per_million` is made of. */
  use: BilledUse;
  byService: Record<Service, number>;
};

/**
 * Counts two real runs with a stage's settings (about two minutes, nearly all of it waiting for the simulated model),
 * and scales what they used to a million lines.
 */
export async function measureFees(settings: Settings, onProgress?: (text: string) => void): Promise<FeeFigures> {
  const { shards } = settings;
  const batches = [SMALL_LINES, LARGE_LINES].map((lines) => ({ lines, lineBytes: LINE_BYTES }));
  const [small, large] = await runCounted({
    batches,
    latencyMs: LATENCY_MS,
    // Not cut smaller for the sake of sharing: a million lines are enough for full shards.
    settings: { ...settings, shards: { ...shards, minLines: shards.maxLines } },
    ...(onProgress ? { onProgress } : {}),
  });
  if (!small || !large) throw new Error('Two batches were to be counted');
  return feeFigures(small, large);
}

export function feeFigures(small: CountedBatch, large: CountedBatch): FeeFigures {
  const of = (batch: CountedBatch) => ({ lines: batch.lines, use: billedUseOf(withFewLooks(batch.metered)) });
  const [few, many] = [of(small), of(large)];
  const use = scaleUse(few, many, MILLION);
  return {
    fees_per_million: totalFees(use),
    fees_growth: totalFees(many.use) / totalFees(few.use),
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
