import { functions } from '../../shared/contract/functions.ts';
import type { Settings } from '../../shared/contract/settings.ts';
import { SHARD_PARTITIONS } from '../../shared/domain/shard.ts';
import { type BatchPlan, type Job, SANDBOX_BYTES_PER_SECOND } from '../forecast/batchPlan.ts';

/** How much of one limit is used. Over 1 it is exceeded. */
export type LimitUse = { limit: string; of: 'AWS' | 'ours'; used: number; most: number; unit: string };

export const shareOf = ({ used, most }: LimitUse) => used / most;

/**
 * Quotas that cannot be raised, or that a new account has (2026).
 * Lambda: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
 * Step Functions: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
 */
export const LAMBDA_CONCURRENCY = 1_000;
/** What is left for the API, the steps and whatever else the account runs. */
export const KEPT_CONCURRENCY = 100;
const LAMBDA_SECONDS = 900;
const KIB = 1_024;
const GIB = KIB ** 3;

/** Flat memory of a validation: the table of lines (`lineTable.ts`), and the hash table of ids (`duplicateIds.ts`). */
const VALIDATE_BYTES_PER_LINE = 21 + 28;
/** A shard as JSON with ids of batch and project; the bitmap of lines that do not run is base64. */
const CHILD_INPUT_BYTES = 600;
/** https://docs.aws.amazon.com/step-functions/latest/dg/bp-history-limit.html; a loop of RunShard costs nine with its wait. */
const EVENTS_A_TURN = 9;
const RANGE_BYTES = 100;
const OUTPUT_PART_BYTES = 8 * KIB * KIB;

/** What one run over all lines of the job would use of each limit that a run has. */
export function limitsOfRun(job: Job, plan: BatchPlan, settings: Settings): LimitUse[] {
  const inputBytes = job.lines * job.lineBytes;
  const linesPerSecond = (plan.workers * plan.linesPerShard) / plan.shardSeconds;
  const commitsPerSecond = linesPerSecond / plan.linesPerCommit;
  const hours = (plan.seconds.fetchAndValidate + plan.seconds.process + plan.seconds.finalize) / 3_600;
  const bitmapBytes = Math.ceil(plan.linesPerShard / 6);
  const aws = (limit: string, used: number, most: number, unit: string): LimitUse => ({
    ...{ limit, of: 'AWS', used, most, unit },
  });
  const ours = (limit: string, used: number, most: number, unit: string): LimitUse => ({
    ...{ limit, of: 'ours', used, most, unit },
  });
  return [
    ours('lines of a batch', job.lines, settings.limits.inputLines, 'lines'),
    ours('bytes of an input file', inputBytes / GIB, settings.limits.inputBytes / GIB, 'GiB'),
    ours('completion window', hours, 24, 'h'),
    // One invocation, since what it knows of the lines before is in its memory.
    aws("Lambda's time, in Validate", inputBytes / SANDBOX_BYTES_PER_SECOND, LAMBDA_SECONDS, 's'),
    aws(
      "Lambda's memory, in Validate",
      (job.lines * VALIDATE_BYTES_PER_LINE) / KIB ** 2,
      functions['workflow/validateInput'].memoryMb,
      'MiB',
    ),
    aws('items of a map', plan.shards, 100_000_000, 'items'),
    aws('file of items of a map', (plan.shards * (RANGE_BYTES + bitmapBytes)) / GIB, 10, 'GiB'),
    aws('input of a child', (CHILD_INPUT_BYTES + bitmapBytes) / KIB, 256, 'KiB'),
    aws('children of a map at once', plan.workers, 10_000, 'children'),
    aws("dispatch of a map's children", plan.workers / plan.shardSeconds, 100, '/s'),
    aws("history of a child's execution", plan.turns * EVENTS_A_TURN, 25_000, 'events'),
    aws('sockets of a sandbox', plan.inFlight, 300, 'sockets'),
    aws('writes to one item (the live counts)', commitsPerSecond, 1_000, 'units/s'),
    aws('writes to one partition of shards', (2 * commitsPerSecond) / SHARD_PARTITIONS, 1_000, 'units/s'),
    aws('writes under one prefix of S3', commitsPerSecond, 3_500, '/s'),
    // Parts double in size each thousand, so 10,000 of them hold more than an object may have.
    aws('parts of an upload', partsOf(job.lines * job.answerBytes), 10_000, 'parts'),
    aws('size of an object', (job.lines * job.answerBytes) / GIB, 5 * KIB, 'GiB'),
  ];
}

/** `multipart.ts`: the first thousand parts have 8 MiB each, the second 16, and so on. */
function partsOf(bytes: number): number {
  let parts = 0;
  for (let left = bytes, size = OUTPUT_PART_BYTES; left > 0; left -= 1_000 * size, size *= 2)
    parts += Math.min(1_000, Math.ceil(left / size));
  return parts;
}

/** What an account's limits have to bear where so many batches run at the same time. */
export function limitsOfAccount({ atOnce, workersAtOnce }: { atOnce: number; workersAtOnce: number }): LimitUse[] {
  const aws = (limit: string, used: number, most: number, unit: string): LimitUse => ({
    ...{ limit, of: 'AWS', used, most, unit },
  });
  return [
    aws("Lambda's concurrency", workersAtOnce, LAMBDA_CONCURRENCY, 'sandboxes'),
    aws('open map runs', atOnce, 1_000, 'runs'),
    // A burst of 1,300 is taken at once; who creates more waits for 300 a second.
    aws('StartExecution at once', atOnce, 1_300, 'calls'),
  ];
}
