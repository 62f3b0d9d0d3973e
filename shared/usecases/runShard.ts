import type { StepInput, StepOutput } from '../contract/steps.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { isShardDone } from '../domain/shard.ts';
import type { Invocation } from '../ports.ts';
import { ShardReader } from './runShard/shardReader.ts';
import { ShardTurn, type TurnDeps, type TurnEnd } from './runShard/shardTurn.ts';

/** Step Functions waits at most this long between two looks of a worker. */
const MAX_WAIT_SECONDS = 15 * 60;

/**
 * Runs the lines of one shard that are not finished yet, as far as this invocation's time goes.
 *
 * `again`: there is more, and this invocation's time is over. `wait`: nothing can be sent for a while. `end`: the shard
 * is done, or not this worker's any more, or the batch is to stop; Plan looks at what is left.
 */
export async function runShard(
  deps: TurnDeps,
  input: StepInput<'runShard'>,
  invocation: Invocation,
): Promise<StepOutput<'runShard'>> {
  const { projectId, batchId, attempt, shard: range } = input;
  const answer = (next: 'again' | 'wait' | 'end', waitSeconds = 0): StepOutput<'runShard'> => ({
    ...input,
    turn: input.turn + 1,
    next,
    waitSeconds,
  });

  const ref = { projectId, batchId };
  const [head, control] = await Promise.all([deps.batches.get(ref), deps.controls.get(batchId)]);
  if (!head?.input || !control) throw new Error(`Batch ${batchId} has no input to run`);
  if (head.attempt !== attempt || isEnded(head.status) || head.outcome) return answer('end');
  if (control.action === 'stop' || deps.clock.now() >= control.deadline) return answer('end');

  const reader = new ShardReader(deps.files, head.input, range, deps.settings.limits.lineBytes);
  // Beside the claim, since either takes as long as a call of a fast model. A fault comes again where lines are wanted;
  // where none are, a piece was read for nothing.
  reader.load().catch(() => undefined);
  const record = await deps.shards.claim(batchId, range);
  if (record === 'sealed') return answer('end');
  if (isShardDone(range, record.done)) {
    await deps.shards.release(batchId, range.shard, record.epoch);
    return answer('end');
  }
  const turn = new ShardTurn(deps, { head, reader, range, record, control }, invocation);
  let end: TurnEnd;
  try {
    end = await turn.run();
  } catch (error) {
    // The stores or the network failed, not a line: no death. If even this fails, it counts as one.
    await turn.release().catch(() => deps.log.warn('shard not released', { batchId, shard: range.shard }));
    throw error;
  }
  const { failures } = turn;
  deps.log.info('shard turn', { batchId, shard: range.shard, epoch: record.epoch, end: end.kind, failures });
  switch (end.kind) {
    case 'out_of_time':
    case 'out_of_lines':
      return answer('again');
    case 'idle': {
      const now = deps.clock.now();
      const seconds = Math.ceil((Math.min(end.until, control.deadline) - now) / 1000);
      return answer('wait', Math.min(Math.max(seconds, 1), MAX_WAIT_SECONDS));
    }
    default:
      return answer('end');
  }
}
