import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { blockCostMs, LIMIT_MS } from '../../../shared/domain/retry/callShare.ts';
import { createShareGate } from '../../../shared/usecases/runShard/shareGate.ts';
import { memoryCallShares } from '../../support/callShares.ts';
import { seededRandom } from '../../support/random.ts';
import { recordedLog } from '../../support/recordedLog.ts';
import { callsOf, callTogether, mostWithin, type SimulatedWorker, wantedLine } from '../../support/sharedModel.ts';

const MINUTE_MS = 60_000;
const alike = (count: number, worker: SimulatedWorker): SimulatedWorker[] =>
  Array.from({ length: count }, () => worker);

const worker = fc.record({
  projectId: fc.constantFrom('a', 'b', 'c'),
  batchId: fc.constantFrom('1', '2'),
  lines: fc.integer({ min: 1, max: 60 }),
  window: fc.integer({ min: 1, max: 64 }),
  startsAt: fc.integer({ min: 0, max: 90_000 }),
  // One in three is killed and gives nothing back.
  diesAt: fc.option(fc.integer({ min: 1_000, max: 120_000 }), { freq: 3, nil: Number.POSITIVE_INFINITY }),
  skewMs: fc.constantFrom(0, 0, 0, -4_000, 700, 3_000),
});

const worlds = fc.record({
  workers: fc.array(worker, { minLength: 1, maxLength: 12 }),
  perMinute: fc.integer({ min: 2, max: 900 }),
  seed: fc.integer({ min: 0, max: 1_000_000 }),
});

describe('limits of a model', () => {
  const noMinuteHasMore = (blind: boolean) =>
    fc.asyncProperty(worlds, async ({ workers, perMinute, seed }) => {
      const limits = { requests_per_minute: perMinute };
      const { calls } = await callTogether({ limits, seed, blind }, workers, 240_000);
      // Clocks that are seconds apart meet at the first block of the one that is ahead: until then some calls more.
      const apartMs = Math.max(...workers.map(({ skewMs }) => Math.abs(skewMs)));
      const slack = Math.ceil((perMinute * apartMs) / MINUTE_MS);
      expect(mostWithin(calls, MINUTE_MS)).toBeLessThanOrEqual(perMinute + slack);
    });

  test('no minute has more calls, whoever comes, dies, has a wrong clock or meets others', async () => {
    await fc.assert(noMinuteHasMore(false), { numRuns: 60 });
  });

  test('are seen not to hold where the table does not compare what it writes over', async () => {
    const outcome = await fc.check(noMinuteHasMore(true), { numRuns: 300, seed: 20_260_115, endOnFailure: true });
    expect(outcome.failed).toBe(true);
  });

  test.each([
    [1, 600, [200, 2_000]],
    [20, 600, [200, 2_000]],
    [20, 600, [10_000, 30_000]],
    [4, 6_000, [20, 200]],
  ] as const)('are used by %i workers at %i calls a minute of %j ms', async (workers, perMinute, latencyMs) => {
    const { calls } = await callTogether(
      { limits: { requests_per_minute: perMinute }, seed: 1, latencyMs: [...latencyMs] },
      alike(workers, { projectId: 'a', lines: Math.ceil((3 * perMinute) / workers) }),
    );
    const most = mostWithin(calls, MINUTE_MS);
    expect(most).toBeLessThanOrEqual(perMinute);
    expect(most).toBeGreaterThan(0.9 * perMinute);
  });

  test('of thousands of calls a second are spread over several records', async () => {
    const perMinute = 60_000;
    const { calls, records } = await callTogether(
      { limits: { requests_per_minute: perMinute }, seed: 1, latencyMs: [200, 1_000] },
      alike(30, { projectId: 'a', lines: 1_500 }),
    );
    expect(records).toBe(4);
    expect(mostWithin(calls, 1_000)).toBeLessThanOrEqual((perMinute / 60) * 3.5);
    expect(calls.length / (calls.at(-1)?.at ?? 1)).toBeGreaterThan((0.8 * perMinute) / MINUTE_MS);
  });

  test.each([1, 2, 3])('on tokens hold, where lines say how much may be answered (seed %i)', async (seed) => {
    const limits = { tokens_per_minute: 100_000 };
    const { calls } = await callTogether(
      { limits, seed, latencyMs: [2_000, 9_000], tokens: (random) => random.int(50, 750), maxTokens: 1_500 },
      alike(6, { projectId: 'a', lines: 150 }),
    );
    expect(mostWithin(calls, MINUTE_MS, ({ tokens }) => tokens)).toBeLessThanOrEqual(100_000);
    // After the first calls have told what they take.
    const later = calls.filter(({ at }) => at > 30_000 && at <= 90_000);
    expect(later.reduce((sum, { tokens }) => sum + tokens, 0)).toBeGreaterThan(80_000);
  });

  test('on calls in flight are divided among batches and workers', async () => {
    const { calls } = await callTogether({ limits: { calls_in_flight: 24 }, seed: 1 }, [
      ...alike(4, { projectId: 'a', lines: 200 }),
      ...alike(2, { projectId: 'b', lines: 200, startsAt: 20_000 }),
    ]);
    const most = (from: number, to: number) =>
      Math.max(...calls.filter(({ at }) => at >= from && at < to).map(({ inFlight = 0 }) => inFlight));
    expect(most(0, 20_000)).toBe(24);
    // Workers look every ten seconds who else is there, and let their calls end.
    expect(most(33_000, Number.POSITIVE_INFINITY)).toBeLessThanOrEqual(24);
  });
});

describe('parts of a model', () => {
  const limits = { requests_per_minute: 600 };

  test('are equal for projects that are active, and go to the others when one is not', async () => {
    const { calls } = await callTogether(
      { limits, seed: 1 },
      [
        ...alike(12, { projectId: 'a', lines: 400 }),
        { projectId: 'b', lines: 250, startsAt: 60_000 },
        { projectId: 'c', lines: 250, startsAt: 60_000 },
      ],
      260_000,
    );
    const of = (projectId: string, from: number) => callsOf(calls, projectId, from, from + 30_000).length;
    expect(of('a', 30_000)).toBeGreaterThan(270);
    // A third of 300 for each.
    for (const projectId of ['a', 'b', 'c']) {
      expect(of(projectId, 70_000)).toBeGreaterThan(85);
      expect(of(projectId, 70_000)).toBeLessThan(115);
    }
    const last = callsOf(calls, 'b')
      .concat(callsOf(calls, 'c'))
      .reduce((at, call) => Math.max(at, call.at), 0);
    expect(of('a', last + 3_000)).toBeGreaterThan(270);
  });

  test('that a project does not use go to the others at once', async () => {
    const { calls } = await callTogether(
      { limits, seed: 1, latencyMs: [3_000, 3_000] },
      [
        ...alike(12, { projectId: 'a', lines: 400 }),
        // One call at a time: 20 a minute.
        { projectId: 'b', lines: 100, window: 1 },
      ],
      120_000,
    );
    expect(callsOf(calls, 'a', 30_000, 90_000).length).toBeGreaterThan(500);
    expect(callsOf(calls, 'b', 30_000, 90_000).length).toBeGreaterThan(14);
  });

  test('are equal for the batches of one project, which together have that of one', async () => {
    const { calls } = await callTogether(
      { limits, seed: 1 },
      [
        ...alike(6, { projectId: 'a', batchId: '1', lines: 300 }),
        { projectId: 'a', batchId: '2', lines: 300 },
        { projectId: 'b', batchId: '3', lines: 300 },
      ],
      60_000,
    );
    const of = (batchId: string) => calls.filter((call) => call.batchId === batchId && call.at > 20_000).length;
    expect(of('1') / of('2')).toBeGreaterThan(0.75);
    expect(of('1') / of('2')).toBeLessThan(1.33);
    expect(of('3') / (of('1') + of('2'))).toBeGreaterThan(0.75);
    expect(of('3') / (of('1') + of('2'))).toBeLessThan(1.33);
  });
});

describe('a table that cannot be asked', () => {
  test('holds the calls until it can be; none is lost, and it is not asked all the time', async () => {
    const { calls, log, endedAt } = await callTogether(
      {
        ...{ limits: { requests_per_minute: 600 }, seed: 1 },
        tableFails: (ms) => ms > 20_000 && ms < 80_000,
      },
      alike(3, { projectId: 'a', lines: 150 }),
    );
    expect(calls).toHaveLength(450);
    expect(endedAt.filter((at) => at !== undefined)).toHaveLength(3);
    expect(calls.filter(({ at }) => at > 24_000 && at < 80_000)).toEqual([]);
    expect(mostWithin(calls, MINUTE_MS)).toBeLessThanOrEqual(600);
    expect(log.lines.length).toBeLessThan(3 * 20);
  });
});

describe('the end of a turn', () => {
  const limits = { requests_per_minute: 60 };

  async function takeTen(returned = true) {
    const shares = memoryCallShares();
    let now = 1_768_471_200_000;
    const clock = { now: () => now, sleep: async () => undefined };
    const store = returned ? shares.store : { ...shares.store, giveBack: async () => undefined };
    const gate = createShareGate(
      { callShares: store, clock, random: seededRandom(1), log: recordedLog() },
      {
        ...{ model: 'm', limits: { requests_per_minute: 6_000 }, holder: { projectId: 'a', batchId: '1' }, workers: 1 },
        demand: () => ({ ready: Array.from({ length: 10 }, () => wantedLine()), room: 10 }),
        othersOpenAt: (at) => at,
      },
    );
    await gate.prepare(now);
    now += 1;
    const call = { line: wantedLine(), beganAt: now, blame: () => undefined };
    expect(gate.opensAt(now)).toBeLessThanOrEqual(now);
    gate.began(call);
    gate.ended(call, {});
    await gate.close?.({ goesOn: false });
    const [record] = [...shares.records.values()];
    return (record?.shares.freeAt ?? 0) - (now - 1 - 1_000);
  }

  test('gives back the calls that were taken and not begun', async () => {
    expect(await takeTen()).toBeCloseTo(blockCostMs({ requests_per_minute: 6_000 }, 1, 0), 2);
    expect(await takeTen(false)).toBeCloseTo(blockCostMs({ requests_per_minute: 6_000 }, 10, 0), 2);
  });

  test('of a worker that was killed costs the others a block at most', async () => {
    const { calls } = await callTogether({ limits, seed: 1 }, [
      { projectId: 'a', lines: 100, diesAt: 10_500 },
      { projectId: 'a', lines: 100, startsAt: 10_000 },
    ]);
    const gaps = calls.slice(1).map(({ at }, index) => at - (calls[index]?.at ?? 0));
    expect(Math.max(...gaps)).toBeLessThan(2 * 1_000 + LIMIT_MS / 60);
  });
});
