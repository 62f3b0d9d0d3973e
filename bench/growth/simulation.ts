import type { Settings } from '../../shared/contract/settings.ts';
import { addUse, type BilledUse, NO_USE } from '../fees/billedUse.ts';
import type { BatchPlan, Job } from '../forecast/batchPlan.ts';
import { forecastBatch } from '../forecast/forecast.ts';
import {
  KEPT_CONCURRENCY,
  LAMBDA_CONCURRENCY,
  type LimitUse,
  limitsOfAccount,
  limitsOfRun,
  shareOf,
} from './limits.ts';

export type Simulation = {
  /** Files that the lines are cut into: more than one where a run of all of them is refused at validation. */
  batches: number;
  linesPerBatch: number;
  /** Batches that run at the same time, so that the account's concurrency bears all their workers. */
  atOnce: number;
  /** The planner's choices for one of them. */
  plan: BatchPlan;
  seconds: number;
  peakWorkers: number;
  use: BilledUse;
  /** By how far they are used, the nearest first; none is over 1. */
  limits: LimitUse[];
  /** What one run of all the lines would exceed, the first to be met first; empty where one run will do. */
  inOneRun: LimitUse[];
};

/** Runs so many lines in virtual time: batches start as others end, workers take shards as they come free. */
export function simulate(job: Job, settings: Settings): Simulation {
  const { limits } = settings;
  const linesPerBatch = Math.max(
    1,
    Math.min(job.lines, limits.inputLines, Math.floor(limits.inputBytes / job.lineBytes)),
  );
  const batches = Math.ceil(job.lines / linesPerBatch);
  const room = Math.min(LAMBDA_CONCURRENCY - KEPT_CONCURRENCY, job.workersAtMost ?? LAMBDA_CONCURRENCY);
  const alone = forecastBatch({ ...job, lines: linesPerBatch, workersAtMost: room }, settings);
  const atOnce = Math.min(batches, Math.max(1, Math.floor(room / alone.plan.workers)));
  // What a limited model takes is divided between the batches.
  const shared = {
    ...job,
    workersAtMost: room,
    ...(job.requestsPerMinute === undefined ? {} : { requestsPerMinute: job.requestsPerMinute / atOnce }),
  };
  const whole = forecastBatch({ ...shared, lines: linesPerBatch }, settings);
  const rest = job.lines - (batches - 1) * linesPerBatch;
  const last = rest === linesPerBatch ? whole : forecastBatch({ ...shared, lines: rest }, settings);

  const wholeRun = runBatch(whole.plan);
  const lastRun = runBatch(last.plan);
  /** When each place for a batch comes free. */
  const places = new Array<number>(atOnce).fill(0);
  let seconds = 0;
  for (let batch = 1; batch <= batches; batch++) {
    places.sort((a, b) => a - b);
    const end = (places[0] ?? 0) + (batch === batches ? lastRun : wholeRun).seconds;
    places[0] = end;
    seconds = Math.max(seconds, end);
  }
  const peakWorkers = atOnce * wholeRun.peakWorkers;
  const used = [
    ...limitsOfRun({ ...job, lines: linesPerBatch }, whole.plan, settings),
    ...limitsOfAccount({ atOnce, workersAtOnce: peakWorkers }),
  ];
  const oneRun = forecastBatch(job, settings);
  const inOneRun = limitsOfRun(job, oneRun.plan, settings).filter((limit) => shareOf(limit) > 1);
  return {
    ...{ batches, linesPerBatch, atOnce, plan: whole.plan, seconds, peakWorkers },
    use: addUse(addUse(NO_USE, whole.use, batches - 1), last.use),
    limits: used.sort((a, b) => shareOf(b) - shareOf(a)),
    inOneRun: inOneRun.sort((a, b) => shareOf(b) - shareOf(a)),
  };
}

const CHILDREN_A_SECOND = 100;

/** One batch from its start to its end: the map dispatches shards in order, each to the first worker that is free. */
function runBatch({ shards, workers, shardSeconds, seconds }: BatchPlan): { seconds: number; peakWorkers: number } {
  const overhead = seconds.fetchAndValidate + seconds.finalize + 1;
  const freeAt: number[] = [];
  let end = 0;
  let head = 0;
  for (let shard = 0; shard < shards; shard++) {
    const dispatched = shard / CHILDREN_A_SECOND;
    // All shards take the same time, so whoever began first is free first.
    const free = freeAt.length - head < workers ? 0 : (freeAt[head++] ?? 0);
    end = Math.max(dispatched, free) + shardSeconds;
    freeAt.push(end);
  }
  const peakWorkers = Math.min(workers, shards, Math.ceil(shardSeconds * CHILDREN_A_SECOND));
  return { seconds: overhead + end, peakWorkers };
}
