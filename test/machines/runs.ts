import { STEP_VERSION } from '../../shared/contract/steps.ts';
import { FunctionFailure } from '../local/stepfunctions/harness.ts';
import type { MachineName } from './definitions.ts';
import type { Script } from './stage.ts';

/** What executions are started with, and short words for what scripts say. */

const batch = { version: STEP_VERSION, projectId: 'project', batchId: 'batch_1' };

export const INPUTS: Record<MachineName, Record<string, unknown>> = {
  batch: { ...batch, attempt: 1 },
  notification: { ...batch, notification: 1 },
  snapshot: { ...batch, snapshot: 1 },
};

export const to = (next: string, more: Record<string, unknown> = {}) => ({ next, ...more });
export const fails = (errorType: string) => new FunctionFailure(errorType);
/** An error of a function's own, which another try may not meet. */
export const FAULT = 'TypeError';

export const shards = (count: number) =>
  Array.from({ length: count }, (_, shard) => ({
    shard,
    start: shard * 100,
    end: (shard + 1) * 100,
    firstLine: 1 + shard * 10,
    lines: 10,
    runnable: 10,
  }));

export const planned = (key: string, round = 1, maxConcurrency = 2) => to('process', { round, key, maxConcurrency });
/** Nothing is left to run. */
export const allDone = (round: number) => to('finalize', { round });
export const shardDone = (turn = 1) => to('end', { turn, waitSeconds: 0 });

/** A batch without mishap; `key` is the list of its shards. */
export const smooth = (key: string): Script => ({
  fetchInput: to('validate'),
  validateInput: to('plan'),
  planShards: [planned(key), allDone(2)],
  runShard: shardDone(),
  finalizeBatch: to('end'),
});
