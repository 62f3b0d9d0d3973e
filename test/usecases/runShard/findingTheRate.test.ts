import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aRunningBatch, chatLines, type ShardWorld, startShardWorld } from '../../support/shardWorld.ts';
import {
  tokenBucketServer as startServer,
  type tokenBucketServer,
  workersInTime,
} from '../../support/workersInTime.ts';

let world: ShardWorld;
beforeAll(async () => {
  world = await startShardWorld();
});
afterAll(() => world.close());

const DEADLINE = Date.parse('2026-01-16T10:00:00.000Z');

type Run = {
  seed: number;
  batches: { lines: number; shards: number }[];
  perSecond: number;
  /** The server's limit from then on, in seconds from the start. */
  changes?: { at: number; perSecond: number }[];
};

/** Runs the batches side by side against a token bucket; answers what the server counted. */
async function run({ seed, batches, perSecond, changes = [] }: Run): Promise<ReturnType<typeof tokenBucketServer>> {
  let server: ReturnType<typeof tokenBucketServer> | undefined;
  const workers = workersInTime(world, {
    seed,
    model: (time) => {
      server = startServer(time, { perSecond, burst: perSecond, latencyMs: [300, 1_200], seed });
      return server.provider;
    },
  });
  const running = await Promise.all(
    batches.map(({ lines, shards }) =>
      aRunningBatch(world, chatLines(lines), { linesAShard: Math.ceil(lines / shards), deadline: DEADLINE }),
    ),
  );
  const turnTheLimit = async () => {
    let before = 0;
    for (const change of changes) {
      await workers.time.clock.sleep((change.at - before) * 1000);
      before = change.at;
      server?.setRate(change.perSecond);
    }
  };
  await workers.time.run(Promise.all([...running.map((batch) => workers.runBatch(batch)), turnTheLimit()]));
  if (!server) throw new Error('no worker asked for the model');
  return server;
}

/** The promise: at least 85 % of the limit after warm-up, and under 5 % of the calls refused. */
function expectNearLimit(server: ReturnType<typeof tokenBucketServer>, perSecond: number, from: number, to: number) {
  const found = server.between(from, to);
  expect(found.perSecond).toBeGreaterThan(0.85 * perSecond);
  expect(found.refused).toBeLessThan(0.05);
}

describe('the rate that a model takes is found', () => {
  it.each([1, 2, 3])('by one worker (seed %d)', async (seed) => {
    const server = await run({ seed, batches: [{ lines: 4_000, shards: 1 }], perSecond: 50 });
    expectNearLimit(server, 50, 20, 75);
  });

  it.each([4, 5])('by workers side by side, together (seed %d)', async (seed) => {
    const server = await run({ seed, batches: [{ lines: 5_000, shards: 4 }], perSecond: 50 });
    expectNearLimit(server, 50, 20, 80);
  });

  it.each([6, 7])('by two batches that share it, without storms (seed %d)', async (seed) => {
    const batch = { lines: 2_500, shards: 2 };
    const server = await run({ seed, batches: [batch, batch], perSecond: 50 });
    expectNearLimit(server, 50, 20, 70);
    // Not in any ten seconds either, once it is found.
    for (let from = 20; from < 70; from += 10) expect(server.between(from, from + 10).refused).toBeLessThan(0.15);
  });

  it('again when the limit rises, and when it falls', async () => {
    const changes = [
      { at: 40, perSecond: 60 },
      { at: 100, perSecond: 30 },
    ];
    const server = await run({ seed: 8, batches: [{ lines: 7_000, shards: 2 }], perSecond: 20, changes });
    expectNearLimit(server, 20, 20, 40);
    expectNearLimit(server, 60, 75, 100);
    expectNearLimit(server, 30, 125, 150);
  });

  it('the same way for the same seed', async () => {
    const once = () => run({ seed: 9, batches: [{ lines: 600, shards: 2 }], perSecond: 20 });
    expect((await once()).seconds).toEqual((await once()).seconds);
  });
});
