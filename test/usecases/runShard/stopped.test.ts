import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Control } from '../../../shared/domain/control.ts';
import { runShard } from '../../../shared/usecases/runShard.ts';
import {
  aRunningBatch,
  chatLines,
  committedResults,
  handClock,
  handModel,
  LONG,
  type ShardWorld,
  startShardWorld,
  workerDeps,
} from '../../support/shardWorld.ts';

let world: ShardWorld;
beforeAll(async () => {
  world = await startShardWorld();
});
afterAll(() => world.close());

const IN_FLIGHT = { inFlightStart: 4, inFlightMax: 4 };

/** A worker on ten lines, four of them in flight. `stop` returns once it has seen that it is to stop. */
async function working(options: { lines?: number; worker?: Record<string, number>; wholeMs?: number } = {}) {
  const { lines = 10, worker = {}, wholeMs } = options;
  const model = handModel();
  const time = handClock();
  const batch = await aRunningBatch(world, chatLines(lines));
  const seen = Promise.withResolvers<void>();
  const deps = workerDeps(world, { provider: model.provider, clock: time.clock, worker: { ...IN_FLIGHT, ...worker } });
  const controls = {
    ...deps.controls,
    async get(batchId: string): Promise<Control | undefined> {
      const control = await deps.controls.get(batchId);
      // After this answer has been dealt with.
      if (control?.action === 'stop') setImmediate(seen.resolve);
      return control;
    },
  };
  const startedAt = time.clock.now();
  const invocation = wholeMs === undefined ? LONG : { remainingMs: () => startedAt + wholeMs - time.clock.now() };
  const random = { next: () => 0.9 };
  const running = runShard({ ...deps, controls, random }, batch.step(), invocation);
  await model.arrived(Math.min(lines, 4));
  return {
    model,
    time,
    running,
    async stop(reason: NonNullable<Control['reason']> = 'cancelled') {
      await world.controls.stop(batch.ref.batchId, reason);
      time.advance((worker.controlEverySeconds ?? 10) * 1000);
      await seen.promise;
    },
    committed: () => committedResults(world, batch.ref),
  };
}

describe.each(['cancelled', 'expired', 'failed'] as const)('a worker whose batch is %s', (reason) => {
  it('begins no call, lets those in flight end for 3 s, calls off the rest, and commits what was answered', async () => {
    const { model, time, running, stop, committed } = await working();
    model.open[0]?.answer('before the stop');
    await model.arrived(5);
    await stop(reason);
    model.open[1]?.answer('within the time');
    time.advance(2_999);
    model.open[2]?.answer('just within it');
    expect(model.calledOff).toBe(0);
    time.advance(1);
    expect(await running).toMatchObject({ next: 'end' });

    expect(model.open).toHaveLength(5);
    expect(model.calledOff).toBe(2);
    const { results, records } = await committed();
    expect(results.map(({ line, file }) => [line, file])).toEqual([
      [1, 'o'],
      [2, 'o'],
      [3, 'o'],
    ]);
    expect(records[0]).toMatchObject({ completed: 3, deaths: 0 });
  });
});

describe('a worker that is to stop', () => {
  it('ends as soon as its last call has', async () => {
    const { model, running, stop, committed } = await working();
    await stop();
    for (const open of model.open) open.answer('paid for');
    // Time stands still: nothing waits for the 3 s.
    expect(await running).toMatchObject({ next: 'end' });
    expect(model.calledOff).toBe(0);
    expect((await committed()).results).toHaveLength(4);
  });

  it('does not try again what fails meanwhile; the line has no result, and its attempts are kept', async () => {
    const { model, running, stop, committed } = await working({ lines: 2 });
    await stop();
    model.open[0]?.fail(409);
    model.open[1]?.fail(400);
    expect(await running).toMatchObject({ next: 'end' });
    expect(model.open).toHaveLength(2);
    const { results, records } = await committed();
    // What is final is a result of its own; what would have been tried again is left to the batch's end.
    expect(results.map(({ line, file }) => [line, file])).toEqual([[2, 'e']]);
    expect(records[0]).toMatchObject({ attempts: { 0: 1 }, deaths: 0 });
  });

  it('does not wait for lines that are in a back-off', async () => {
    // 17 s: the stop comes before the next try, and before the worker would leave its waiting to the machine.
    const { model, running, stop, committed } = await working({
      lines: 1,
      worker: { retryBaseMs: 19_000, retryMaxMs: 19_000 },
    });
    model.open[0]?.fail(500);
    await stop();
    expect(await running).toMatchObject({ next: 'end' });
    expect((await committed()).results).toEqual([]);
  });

  it('gives them less where its own time is nearly over', async () => {
    // Of 20 s the last 3 are kept for the commit: a stop that is seen after 15 leaves 2.
    const { model, time, running, stop, committed } = await working({
      wholeMs: 20_000,
      worker: { controlEverySeconds: 15 },
    });
    await stop();
    time.advance(1_999);
    model.open[0]?.answer('within the time');
    expect(model.calledOff).toBe(0);
    time.advance(1);
    expect(await running).toMatchObject({ next: 'end' });
    expect(model.calledOff).toBe(3);
    expect((await committed()).results).toHaveLength(1);
  });
});
