import type { CircuitStore, ModelAnswer, ModelProvider } from '../../shared/ports.ts';
import type { TurnDeps } from '../../shared/usecases/runShard/shardTurn.ts';
import { runShard } from '../../shared/usecases/runShard.ts';
import { tracked } from '../simulation/trackedPorts.ts';
import { VirtualTime } from '../simulation/virtualTime.ts';
import { chatAnswer } from './modelServer.ts';
import { seededRandom } from './random.ts';
import { type RunningBatch, type ShardWorld, workerDeps } from './shardWorld.ts';

const SLOW_CIRCUIT_MS = 100;
/** Lambda's longest. */
const TURN_MS = 900_000;

export const ANSWER: ModelAnswer = { kind: 'answered', status: 200, body: Buffer.from(chatAnswer('ok')) };
export const refusal = (status: number, retryAfterMs?: number): ModelAnswer => ({
  ...{ kind: 'answered', status, body: Buffer.from('{"error":{"message":"no"}}') },
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
});

/** One turn of a worker: how long the function ran, and what it answered. */
export type Turn = { shard: number; batchId: string; from: number; to: number; next: string };

/**
 * Workers on the shards of batches in virtual time: the real turns, records and files, run again and waited for as the
 * machine does. Chance comes from the seed, so that a run can be repeated. `slowCircuit`: a model whose circuit is read
 * more slowly than others.
 */
export function workersInTime(
  world: ShardWorld,
  options: {
    seed: number;
    model: (time: VirtualTime) => ModelProvider;
    worker?: Record<string, number>;
    slowCircuit?: string;
  },
) {
  const time = new VirtualTime(Date.parse('2026-01-15T10:00:00.000Z'));
  const random = seededRandom(options.seed);
  const provider = options.model(time);
  const stored = tracked(time, 'circuits', world.circuits());
  const circuits: CircuitStore = {
    ...stored,
    async get(model) {
      if (model === options.slowCircuit) await time.clock.sleep(SLOW_CIRCUIT_MS);
      return stored.get(model);
    },
  };
  const turns: Turn[] = [];
  let serial = 0;

  function depsOf(paces: TurnDeps['paces']): TurnDeps {
    const worker = { retryBaseMs: 500, retryMaxMs: 60_000, ...options.worker };
    return {
      ...workerDeps(world, { provider, clock: time.clock, circuits, worker }),
      batches: tracked(time, 'batches', world.batches),
      controls: tracked(time, 'controls', world.controls),
      shards: tracked(time, 'shards', world.shards),
      files: tracked(time, 'files', world.files),
      ids: { ulid: () => `id-${serial++}`, secretBytes: (count) => new Uint8Array(count) },
      random,
      paces,
    };
  }

  return {
    time,
    turns,
    random,
    circuits,
    /** Runs every shard of the batch to its end, one worker and one sandbox each. */
    async runBatch(batch: RunningBatch): Promise<void> {
      await Promise.all(
        batch.ranges.map(async ({ shard }) => {
          const deps = depsOf(new Map());
          for (let step = batch.step(shard); ; ) {
            const from = time.now;
            const answer = await runShard(deps, step, { remainingMs: () => from + TURN_MS - time.now });
            turns.push({ shard, batchId: batch.ref.batchId, from, to: time.now, next: answer.next });
            if (answer.next === 'end') return;
            if (answer.next === 'wait') await time.clock.sleep(answer.waitSeconds * 1000);
            step = answer;
          }
        }),
      );
    },
  };
}

/** A server that lets `perSecond` calls a second through, some more at once, and refuses the rest. Counts by second. */
export function tokenBucketServer(
  time: VirtualTime,
  options: { perSecond: number; burst: number; latencyMs: readonly [number, number]; seed: number },
) {
  const random = seededRandom(options.seed);
  const startedAt = time.now;
  const seconds: { accepted: number; refused: number }[] = [];
  let { perSecond } = options;
  let tokens = options.burst;
  let filledAt = time.now;
  const fill = () => {
    tokens = Math.min(options.burst, tokens + ((time.now - filledAt) * perSecond) / 1000);
    filledAt = time.now;
  };
  const provider: ModelProvider = {
    async call({ signal }) {
      fill();
      const second = Math.floor((time.now - startedAt) / 1000);
      while (seconds.length <= second) seconds.push({ accepted: 0, refused: 0 });
      const count = seconds[second] ?? { accepted: 0, refused: 0 };
      if (tokens < 1) {
        count.refused++;
        await time.clock.sleep(20 + Math.floor(random.next() * 30), signal);
        return refusal(429, 1_000);
      }
      tokens--;
      count.accepted++;
      const [least, most] = options.latencyMs;
      await time.clock.sleep(least + Math.floor(random.next() * (most - least)), signal);
      return ANSWER;
    },
  };
  return {
    provider,
    setRate(next: number) {
      fill();
      perSecond = next;
    },
    /** Calls a second let through, and the share of all calls that was refused, between two seconds. */
    between(from: number, to: number) {
      const counted = seconds.slice(from, to);
      const accepted = counted.reduce((sum, second) => sum + second.accepted, 0);
      const refused = counted.reduce((sum, second) => sum + second.refused, 0);
      return { perSecond: accepted / (to - from), refused: refused / Math.max(accepted + refused, 1) };
    },
    seconds,
  };
}
