import type { Settings } from '../../shared/contract/settings.ts';
import { linesPerShard } from '../../shared/domain/shardPlanner.ts';
import { MOST_LINES_FACTOR } from '../../shared/usecases/runShard/shardCommits.ts';

/** A batch as its owner would describe it. All lines and all answers are alike. */
export type Job = {
  lines: number;
  lineBytes: number;
  answerBytes: number;
  /** From a call's beginning to the end of its answer. */
  latencyMs: number;
  /** What the model takes, if it is limited; over all workers. */
  requestsPerMinute?: number | undefined;
  /** Workers that may run at once where the account, or the stage, gives less than the settings do. */
  workersAtMost?: number | undefined;
};

/** What the planner and the workers make of it. */
export type BatchPlan = {
  shards: number;
  linesPerShard: number;
  workers: number;
  /** Calls in flight in each worker. */
  inFlight: number;
  /** Of one shard, while nothing holds its worker up. */
  shardSeconds: number;
  /** Invocations of one shard. */
  turns: number;
  commits: number;
  linesPerCommit: number;
  /** Shards that a worker runs one after the other. */
  waves: number;
  /** Between the batch's creation and its end. */
  seconds: { fetchAndValidate: number; process: number; finalize: number };
};

/**
 * A sandbox moves 625 Mbit/s in and out (Lambda's quota): what reads or writes a whole file is bound by it, since
 * validation itself does 400 MB/s and more on one processor.
 */
export const SANDBOX_BYTES_PER_SECOND = 78_000_000;

/** Claim, first read and last commit of a shard: some ten round trips to DynamoDB and S3, of 10 to 100 ms each. */
export const TURN_OVERHEAD_SECONDS = 0.5;

/**
 * A worker's processor time a line on a whole vCPU (1,769 MB), as metered on local runs (0.4 ms, to which TLS is
 * added). Lambda gives a function its share by memory.
 */
const CPU_MS_PER_LINE = 0.5;
const VCPU_MB = 1_769;

/** Each further step costs a second or so: start of a sandbox, a few records, one small file. */
export const STEP_SECONDS = 0.5;

export function planBatch(job: Job, settings: Settings, workerMemoryMb: number): BatchPlan {
  const { shards: limits, worker } = settings;
  const byBytes = Math.max(1, Math.floor(limits.maxBytes / job.lineBytes));
  const lines = Math.max(1, Math.min(linesPerShard(job.lines, limits), byBytes, job.lines));
  const shards = Math.ceil(job.lines / lines);
  const workers = Math.max(1, Math.min(shards, limits.maxWorkers, job.workersAtMost ?? limits.maxWorkers));
  const roomInBytes = Math.max(1, Math.floor(worker.inFlightBytes / (job.lineBytes + job.answerBytes)));
  const inFlight = Math.min(worker.inFlightMax, roomInBytes);

  const latencySeconds = job.latencyMs / 1_000;
  const cpuSeconds = (lines * CPU_MS_PER_LINE * (VCPU_MB / Math.min(workerMemoryMb, VCPU_MB))) / 1_000;
  const limitedSeconds = job.requestsPerMinute === undefined ? 0 : (lines * workers * 60) / job.requestsPerMinute;
  const callSeconds = roundsOf(lines, worker.inFlightStart, inFlight) * latencySeconds;
  const runSeconds = Math.max(callSeconds, cpuSeconds, limitedSeconds);
  const admitSeconds = LONGEST_TURN_SECONDS - worker.drainSeconds;
  const turns = Math.max(1, Math.ceil(runSeconds / admitSeconds));
  const shardSeconds = runSeconds + turns * TURN_OVERHEAD_SECONDS;

  const linesInTime = Math.max(1, Math.floor((lines / runSeconds) * worker.commitEverySeconds));
  const linesInBytes = Math.max(1, Math.ceil(worker.commitBytes / job.answerBytes));
  const linesInGap = Math.floor((lines / runSeconds) * (worker.commitGapMs / 1_000));
  const commitLines = Math.max(worker.commitLines, Math.min(linesInGap, MOST_LINES_FACTOR * worker.commitLines));
  const linesPerCommit = Math.min(commitLines, linesInTime, linesInBytes, lines);
  const commits = Math.max(turns, Math.ceil(lines / linesPerCommit));

  const waves = Math.ceil(shards / workers);
  const inputBytes = job.lines * job.lineBytes;
  const outputBytes = job.lines * job.answerBytes;
  return {
    ...{ shards, linesPerShard: lines, workers, inFlight, shardSeconds, turns, commits, linesPerCommit, waves },
    seconds: {
      fetchAndValidate: 2 * STEP_SECONDS + inputBytes / SANDBOX_BYTES_PER_SECOND,
      process: 2 * STEP_SECONDS + waves * shardSeconds + shards / CHILDREN_A_SECOND,
      // Each byte comes in and goes out again.
      finalize: STEP_SECONDS + (2 * outputBytes) / SANDBOX_BYTES_PER_SECOND,
    },
  };
}

/** Lambda's longest. */
const LONGEST_TURN_SECONDS = 900;
/** Dispatch of a Distributed Map's STANDARD children: https://docs.aws.amazon.com/step-functions/latest/dg/limits-overview.html */
const CHILDREN_A_SECOND = 100;

/**
 * Rounds of calls that all take the same time: the window starts small and doubles each round, since it grows with each
 * call that ends well (`inFlightWindow.ts`).
 */
function roundsOf(lines: number, start: number, max: number): number {
  let rounds = 0;
  let left = lines;
  for (let window = Math.min(start, max); left > 0 && window < max; window = Math.min(max, 2 * window)) {
    left -= window;
    rounds++;
  }
  return rounds + Math.ceil(Math.max(0, left) / max);
}
