import * as z from 'zod';
import { ShardRangeSchema } from '../domain/shard.ts';
import { STEP_VERSION_UNKNOWN } from './stepVersions.ts';

/**
 * What the steps of the two machines are given and answer. A step's answer is the next step's input: it becomes the
 * whole state, and `next` is what the machine's Choice looks at. `version` lets old executions meet new code
 * (`stepVersions.ts`).
 */
export const STEP_VERSION = 1;

const Run = z.object({
  version: z.literal(STEP_VERSION),
  projectId: z.string(),
  batchId: z.string(),
  /** Number of the execution; a step that finds a newer one on the record stops at once (`next: "end"`). */
  attempt: z.int().positive(),
});
export type Run = z.infer<typeof Run>;

/** S3 key of what a step that ran out of time left for its next invocation. */
const checkpoint = z.string().optional();

export const steps = {
  fetchInput: {
    input: Run.extend({ checkpoint }),
    output: Run.extend({ next: z.enum(['validate', 'fetch', 'plan', 'finalize', 'end']), checkpoint }),
  },
  validateInput: {
    input: Run,
    output: Run.extend({ next: z.enum(['plan', 'finalize', 'end']) }),
  },
  planShards: {
    input: Run.extend({ round: z.int().nonnegative().default(0) }),
    output: Run.extend({
      next: z.enum(['process', 'finalize', 'end']),
      round: z.int().positive(),
      /** What the Distributed Map's ItemReader reads, and how many children may run. Present with `process`. */
      key: z.string().optional(),
      maxConcurrency: z.int().positive().optional(),
    }),
  },
  /** Runs in the map's child executions. */
  runShard: {
    input: Run.extend({ shard: ShardRangeSchema, turn: z.int().nonnegative().default(0) }),
    output: Run.extend({
      shard: ShardRangeSchema,
      /** Invocations so far; the child ends at `MAX_SHARD_TURNS`, and Plan maps what is left again. */
      turn: z.int().positive(),
      next: z.enum(['again', 'wait', 'end']),
      waitSeconds: z.int().nonnegative(),
    }),
  },
  finalizeBatch: {
    /** `settled`: the workers of a stopped attempt have had their time. */
    input: Run.extend({ checkpoint, settled: z.boolean().optional() }),
    /** `settle`: an attempt was stopped a moment ago, and its workers have `waitSeconds` to commit what they have. */
    output: Run.extend({
      next: z.enum(['finalize', 'settle', 'end']),
      checkpoint,
      waitSeconds: z.int().nonnegative().optional(),
      settled: z.boolean().optional(),
    }),
  },
  /** After a step failed for good: fixes the outcome, or leaves the batch to the check for another attempt. */
  failBatch: {
    input: Run.extend({ error: z.object({ Error: z.string(), Cause: z.string().optional() }) }),
    output: Run.extend({ next: z.enum(['finalize', 'give_up', 'end']) }),
  },
  /** The only step of the snapshot machine: copies what is committed so far into files of its own. */
  snapshotBatch: {
    input: z.object({
      version: z.literal(STEP_VERSION),
      projectId: z.string(),
      batchId: z.string(),
      /** Number of the snapshot, from 1; its execution is `<batchId>-snapshot-<n>`. */
      snapshot: z.int().positive(),
      checkpoint,
    }),
    output: z.object({
      version: z.literal(STEP_VERSION),
      projectId: z.string(),
      batchId: z.string(),
      snapshot: z.int().positive(),
      next: z.enum(['snapshot', 'end']),
      checkpoint,
    }),
  },
  notifyReceiver: {
    input: z.object({
      version: z.literal(STEP_VERSION),
      projectId: z.string(),
      batchId: z.string(),
      /** Number of the notification's execution. */
      notification: z.int().positive(),
    }),
    output: z.object({
      version: z.literal(STEP_VERSION),
      projectId: z.string(),
      batchId: z.string(),
      notification: z.int().positive(),
      next: z.enum(['wait', 'end']),
      waitSeconds: z.int().nonnegative(),
    }),
  },
} as const;

export type StepName = keyof typeof steps;
export type StepInput<S extends StepName> = z.output<(typeof steps)[S]['input']>;
export type StepOutput<S extends StepName> = z.output<(typeof steps)[S]['output']>;

/** A child execution's history ends at 25,000 events; a loop of RunShard costs about 9 with its Wait. */
export const MAX_SHARD_TURNS = 1_000;

/** Names of errors that another try of the same step would meet again: the machines do not retry them. */
export const FINAL_ERRORS = [
  'InvalidStepInput',
  'InvalidStepOutput',
  STEP_VERSION_UNKNOWN,
  'StoredRecordInvalid',
  'InputRejected',
  'FileChanged',
  'FileMissing',
  'NoProgress',
  'FinalizedTooEarly',
  'ResultsInconsistent',
];
