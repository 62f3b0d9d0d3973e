import { functions } from '../../shared/contract/functions.ts';
import type { Settings } from '../../shared/contract/settings.ts';
import { MAX_INLINE_SEGMENTS, SHARD_PARTITIONS } from '../../shared/domain/shard.ts';
import { addUse, type BilledUse, NO_USE } from '../fees/billedUse.ts';
import {
  type BatchPlan,
  type Job,
  planBatch,
  SANDBOX_BYTES_PER_SECOND,
  STEP_SECONDS,
  TURN_OVERHEAD_SECONDS,
} from './batchPlan.ts';

/** What runs of a batch are forecast for: each is a row of its own, so that one sees where the fees come from. */
export type Part = 'requests' | 'fetch' | 'validate' | 'plan' | 'map' | 'shards' | 'finalize' | 'notify';

export type Forecast = { plan: BatchPlan; parts: Record<Part, BilledUse>; use: BilledUse };

/**
 * What a batch will use of AWS if nothing goes wrong. The numbers of each part are those that the meter counts on a real
 * run of the product (`test/bench/forecast.test.ts` runs one and compares); only times are estimates.
 */
export function forecastBatch(
  job: Job,
  settings: Settings,
  { requests = requestsOf }: { requests?: (plan: BatchPlan) => number } = {},
): Forecast {
  const plan = planBatch(job, settings, functions['workflow/runShard'].memoryMb);
  const parts: Record<Part, BilledUse> = {
    requests: requestUse(requests(plan)),
    fetch: fetchUse(),
    validate: validateUse(job, plan),
    plan: planUse(plan),
    map: MAP,
    shards: addUse(addUse(NO_USE, shardUse(job, plan, settings), plan.shards), { dynamoDbWriteUnits: 1 }),
    finalize: finalizeUse(job, plan),
    notify: NOTIFY,
  };
  const use = Object.values(parts).reduce((sum, part) => addUse(sum, part), NO_USE);
  return { plan, parts, use };
}

/** An upload, a create, a download, and a look each minute meanwhile. */
const requestsOf = ({ seconds }: BatchPlan) =>
  3 + Math.ceil((seconds.fetchAndValidate + seconds.process + seconds.finalize) / 60);

const gbSeconds = (memoryMb: number, seconds: number) => (memoryMb / 1_024) * seconds;
/** An API request that finds its sandbox warm. */
const REQUEST_SECONDS = 0.05;

function requestUse(count: number): BilledUse {
  return {
    ...NO_USE,
    apiRequests: count,
    lambdaRequests: count,
    lambdaGbSeconds: count * gbSeconds(functions['http/getBatch'].memoryMb, REQUEST_SECONDS),
    // Key, head and detail; making an upload and a batch writes a record and three.
    dynamoDbReadUnits: 3 * count - 4,
    dynamoDbWriteUnits: 4,
  };
}

/** Invocation, its Task and the Choice behind it. */
const STEP: Partial<BilledUse> = { lambdaRequests: 1, stateTransitions: 2 };
/** An execution's last state, and the way to its end. */
const ENDING_TRANSITIONS = 2;

/** An uploaded file is used where it is. One that is fetched by its URL is written in parts of 8 MB as well. */
function fetchUse(): BilledUse {
  return addUse(NO_USE, {
    ...STEP,
    lambdaGbSeconds: gbSeconds(functions['workflow/fetchInput'].memoryMb, STEP_SECONDS),
    dynamoDbReadUnits: 3,
    dynamoDbWriteUnits: 1,
    s3Gets: 2,
  });
}

function validateUse(job: Job, plan: BatchPlan): BilledUse {
  const seconds = STEP_SECONDS + (job.lines * job.lineBytes) / SANDBOX_BYTES_PER_SECOND;
  return addUse(NO_USE, {
    ...STEP,
    lambdaGbSeconds: gbSeconds(functions['workflow/validateInput'].memoryMb, seconds),
    dynamoDbReadUnits: 2,
    dynamoDbWriteUnits: 1,
    s3Gets: 1,
    s3Puts: puts(plan.shards * RANGE_BYTES),
  });
}

/** Of a `ShardRange` as JSON. */
const RANGE_BYTES = 100;
const UPLOAD_PART_BYTES = 8 * 1024 * 1024;

/** What fits one part is one PUT; else parts, with a request before and one after. */
function puts(bytes: number): number {
  return bytes <= UPLOAD_PART_BYTES ? 1 : 2 + Math.ceil(bytes / UPLOAD_PART_BYTES);
}

/** Before the map and after it. Each time it reads the records of all shards, of which the first time there are none. */
function planUse(plan: BatchPlan): BilledUse {
  const invocation = {
    ...STEP,
    lambdaGbSeconds: gbSeconds(functions['workflow/planShards'].memoryMb, STEP_SECONDS),
    dynamoDbReadUnits: 2,
    dynamoDbWriteUnits: 1,
    // The plan, and whether the input is still there.
    s3Gets: 2,
  };
  const both = addUse(addUse(NO_USE, invocation), invocation);
  // The list that the map reads, and how far things were.
  return addUse(both, { dynamoDbReadUnits: listUnits(plan), s3Puts: 1 + puts(plan.shards * RANGE_BYTES) });
}

/** Consistent reads: a unit for each 4 KB of a page, and at least one a partition that has records. */
function listUnits(plan: BatchPlan): number {
  const perPartition = (plan.shards / SHARD_PARTITIONS) * recordBytes(plan, plan.commits);
  return Math.min(plan.shards, SHARD_PARTITIONS) * Math.max(1, Math.ceil(perPartition / 4_096));
}

/** The map's own state, and what Step Functions itself asks of the bucket: the list of shards, and the results' files. */
const MAP: BilledUse = { ...NO_USE, stateTransitions: 1, s3Gets: 1, s3Puts: 3 };

/** Claim, control and circuit; then a look at the control record every so often. */
const READS_A_TURN = 3;
/** The child is dispatched once, and has an end. */
const CHILD_TRANSITIONS = 1 + ENDING_TRANSITIONS;
const READ_PIECE_BYTES = 4 * 1024 * 1024;

function shardUse(job: Job, plan: BatchPlan, { worker }: Settings): BilledUse {
  const { turns, commits, shardSeconds } = plan;
  const looks = Math.floor(Math.max(0, shardSeconds - turns * TURN_OVERHEAD_SECONDS) / worker.controlEverySeconds);
  const manifests = Math.floor(commits / (MAX_INLINE_SEGMENTS + 1));
  let recordUnits = 0;
  for (let commit = 1; commit <= commits; commit++) recordUnits += Math.ceil(recordBytes(plan, commit) / 1_024);
  return {
    ...NO_USE,
    stateTransitions: 2 * turns + CHILD_TRANSITIONS,
    lambdaRequests: turns,
    lambdaGbSeconds: gbSeconds(functions['workflow/runShard'].memoryMb, shardSeconds),
    s3Gets: Math.ceil((plan.linesPerShard * job.lineBytes) / READ_PIECE_BYTES),
    s3Puts: commits + manifests,
    // A claim a turn; with each commit the shard's record and the batch's counts.
    dynamoDbWriteUnits: turns + recordUnits + commits,
    dynamoDbReadUnits: READS_A_TURN * turns + looks,
  };
}

/** A shard's record after so many commits, of which those in a manifest are named there only. Measured. */
function recordBytes(plan: BatchPlan, commit: number): number {
  const inline = commit % (MAX_INLINE_SEGMENTS + 1);
  return 320 + plan.linesPerShard / 8 + 125 * inline + 20 * Math.min(commit, 16);
}

const SEGMENT_CHUNK_BYTES = 2 * 1024 * 1024;

function finalizeUse(job: Job, plan: BatchPlan): BilledUse {
  const { shards, commits } = plan;
  const segmentBytes = plan.linesPerCommit * job.answerBytes;
  const segmentReads = commits * Math.ceil(segmentBytes / SEGMENT_CHUNK_BYTES);
  const manifests = Math.floor(commits / (MAX_INLINE_SEGMENTS + 1));
  return addUse(NO_USE, {
    ...STEP,
    stateTransitions: 2 + ENDING_TRANSITIONS,
    lambdaGbSeconds: gbSeconds(functions['workflow/finalizeBatch'].memoryMb, plan.seconds.finalize),
    dynamoDbReadUnits: 4 + listUnits(plan),
    // Each shard is sealed, which is a write even where it is done.
    dynamoDbWriteUnits: 9 + shards * Math.ceil(recordBytes(plan, commits) / 1_024),
    s3Gets: 4 + shards * (segmentReads + manifests),
    // The results, the index of lines, and the list of the parts that are deleted (a page a thousand).
    s3Puts: puts(job.lines * job.answerBytes) + 1 + Math.ceil((shards * commits) / 1_000),
  });
}

const NOTIFY: BilledUse = {
  ...NO_USE,
  lambdaRequests: 1,
  stateTransitions: 2 + ENDING_TRANSITIONS,
  lambdaGbSeconds: gbSeconds(functions['workflow/notifyReceiver'].memoryMb, STEP_SECONDS),
  dynamoDbReadUnits: 2,
  dynamoDbWriteUnits: 4,
};
