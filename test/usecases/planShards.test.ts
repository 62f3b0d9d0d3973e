import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ShardRange } from '../../shared/domain/shard.ts';
import { planShards } from '../../shared/usecases/planShards.ts';
import { runShard } from '../../shared/usecases/runShard.ts';
import {
  aRunningBatch,
  chatLines,
  LONG,
  type RunningBatch,
  type ShardWorld,
  startShardWorld,
  workerDeps,
} from '../support/shardWorld.ts';

let world: ShardWorld;
beforeAll(async () => {
  world = await startShardWorld();
});
afterAll(() => world.close());

const input = ({ ref }: RunningBatch, round = 0) => ({ version: 1 as const, ...ref, attempt: 1, round });

async function mapInput(key: string | undefined): Promise<ShardRange[]> {
  const bytes = await world.files.readSmall(key ?? '', 1_000_000);
  return Buffer.from(bytes ?? [])
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ShardRange);
}

describe('planning shards', () => {
  it('maps every shard at first, then only those that are not done, then goes on to Finalize', async () => {
    const batch = await aRunningBatch(world, chatLines(50), { linesAShard: 10 });
    const deps = workerDeps(world);
    const first = await planShards(deps, input(batch), LONG);
    expect(first).toMatchObject({ next: 'process', round: 1, maxConcurrency: 3 });
    expect(await mapInput(first.key)).toEqual(batch.ranges);

    for (const shard of [0, 2, 3]) await runShard(deps, batch.step(shard), LONG);
    const second = await planShards(deps, input(batch, 1), LONG);
    expect(second).toMatchObject({ next: 'process', round: 2, maxConcurrency: 2 });
    expect(second.key).not.toBe(first.key);
    expect((await mapInput(second.key)).map(({ shard }) => shard)).toEqual([1, 4]);

    for (const shard of [1, 4]) await runShard(deps, batch.step(shard), LONG);
    expect(await planShards(deps, input(batch, 2), LONG)).toEqual({ ...input(batch), next: 'finalize', round: 3 });
  });

  it('lets no more workers run than the limits of the models can feed', async () => {
    const batch = await aRunningBatch(world, chatLines(50), { linesAShard: 10 });
    const head = await world.batches.get(batch.ref);
    if (!head?.plan) throw new Error('no plan');
    const { plan } = head;
    const batches = { ...world.batches, get: async () => ({ ...head, plan: { ...plan, models: ['default'] } }) };
    const deps = workerDeps(world);
    const { default: model } = deps.models.models;
    if (!model) throw new Error('no model');
    const withLimits = (limits: NonNullable<typeof model.limits>) => ({
      ...{ ...deps, batches },
      models: { ...deps.models, models: { ...deps.models.models, default: { ...model, limits } } },
    });
    expect(await planShards(withLimits({ requests_per_minute: 60 }), input(batch), LONG)).toMatchObject({
      maxConcurrency: 1,
    });
    expect(await planShards(withLimits({ calls_in_flight: 10 }), input(batch), LONG)).toMatchObject({
      maxConcurrency: 2,
    });
    expect(await planShards(withLimits({ requests_per_minute: 60_000 }), input(batch), LONG)).toMatchObject({
      maxConcurrency: 3,
    });
  });

  it('sets the live counts from the shards, with the bad lines among the failed', async () => {
    const batch = await aRunningBatch(world, chatLines(20), { linesAShard: 10 });
    await runShard(workerDeps(world), batch.step(1), LONG);
    // A counter that drifted: the worker died between its commit and the count.
    await world.batches.addCounts(batch.ref, { completed: 7, failed: 3 }, Date.now());
    await planShards(workerDeps(world), input(batch), LONG);
    const head = await world.batches.get(batch.ref);
    expect(head?.requestCounts).toEqual({ total: 20, completed: 10, failed: 0 });
    expect(head?.usage?.inputTokens).toBeGreaterThan(0);
  });

  it('knows a shard as done whose skipped lines were never run', async () => {
    const batch = await aRunningBatch(world, chatLines(3), { linesAShard: 3 });
    const deps = workerDeps(world);
    const range = { ...batch.step().shard, runnable: 2, skip: Buffer.from([0b010]).toString('base64') };
    await world.files.put(`shards/${batch.ref.batchId}/1-plan.jsonl`, `${JSON.stringify(range)}\n`);
    await runShard(deps, { ...batch.step(), shard: range }, LONG);
    expect((await planShards(deps, input(batch), LONG)).next).toBe('finalize');
  });

  it('goes on to Finalize when the batch is stopped or its window is over', async () => {
    const stopped = await aRunningBatch(world, chatLines(5));
    await world.controls.stop(stopped.ref.batchId, 'cancelled');
    expect((await planShards(workerDeps(world), input(stopped), LONG)).next).toBe('finalize');
    const late = await aRunningBatch(world, chatLines(5), { deadline: Date.now() - 1 });
    expect((await planShards(workerDeps(world), input(late), LONG)).next).toBe('finalize');
  });

  it('ends where a newer attempt is on the record', async () => {
    const batch = await aRunningBatch(world, chatLines(5));
    await world.batches.takeAttempt(batch.ref, 1, { idleAttempts: 0, committedAtAttempt: 0 });
    expect(await planShards(workerDeps(world), input(batch), LONG)).toMatchObject({ next: 'end', round: 1 });
  });

  it('gives up after three rounds that finished no line, and counts anew after one that did', async () => {
    const batch = await aRunningBatch(world, chatLines(20), { linesAShard: 10 });
    const deps = workerDeps(world);
    for (const round of [0, 1, 2]) expect((await planShards(deps, input(batch, round), LONG)).next).toBe('process');
    await runShard(deps, batch.step(0), LONG);
    for (const round of [3, 4, 5]) expect((await planShards(deps, input(batch, round), LONG)).next).toBe('process');
    await expect(planShards(deps, input(batch, 6), LONG)).rejects.toMatchObject({ name: 'NoProgress' });
  });

  it('does not take a repeat of the same round for a round without progress', async () => {
    const batch = await aRunningBatch(world, chatLines(20));
    for (let time = 0; time < 6; time++)
      expect((await planShards(workerDeps(world), input(batch, 1), LONG)).next).toBe('process');
  });

  it('writes a list of many shards in parts', async () => {
    const batch = await aRunningBatch(world, chatLines(1));
    const skip = 'A'.repeat(1_600);
    const plan = Array.from({ length: 4_000 }, (_, shard) => ({ ...batch.step().shard, shard, lines: 9_000, skip }));
    await world.files.put(
      `shards/${batch.ref.batchId}/1-plan.jsonl`,
      plan.map((range) => JSON.stringify(range)).join('\n'),
    );
    const head = await world.batches.get(batch.ref);
    if (!head?.plan) throw new Error('no plan');
    const batches = Object.assign(Object.create(world.batches), {
      get: async () => ({ ...head, plan: { ...head.plan, shards: 4_000 } }),
    });
    const answer = await planShards({ ...workerDeps(world), batches }, input(batch), LONG);
    const bytes = (await world.files.info(answer.key ?? ''))?.bytes ?? 0;
    expect(bytes).toBeGreaterThan(6_000_000);
  });
});
