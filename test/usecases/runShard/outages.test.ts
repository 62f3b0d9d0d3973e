import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ModelAnswer, ModelProvider } from '../../../shared/ports.ts';
import {
  aRunningBatch,
  chatLine,
  chatLines,
  committedResults,
  type ShardWorld,
  startShardWorld,
} from '../../support/shardWorld.ts';
import { ANSWER, refusal, workersInTime } from '../../support/workersInTime.ts';

let world: ShardWorld;
beforeAll(async () => {
  world = await startShardWorld();
});
afterAll(() => world.close());

const START = Date.parse('2026-01-15T10:00:00.000Z');
const MINUTE_MS = 60_000;
const DEADLINE = START + 24 * 60 * MINUTE_MS;

type World = {
  seed?: number;
  /** Fewer show sooner where one is used up. */
  maxAttempts?: number;
  lines: number;
  shards?: number;
  deadline?: number;
  /** What the model answers to a line at that time, from the start; undefined: as it should. */
  answer(ms: number, prompt: string): ModelAnswer | undefined;
  latencyMs?: number | ((prompt: string, isFault: boolean) => number);
};

/** Runs one batch to the end of its workers. */
async function run({
  seed = 1,
  maxAttempts = 5,
  lines,
  shards = 1,
  deadline = DEADLINE,
  answer,
  latencyMs = 500,
}: World) {
  const calls: { at: number; prompt: string; ok: boolean }[] = [];
  const workers = workersInTime(world, {
    seed,
    worker: { inFlightStart: 8, inFlightMax: 8, maxAttempts },
    model: (time): ModelProvider => ({
      async call({ body, signal }) {
        const at = time.now - START;
        const prompt = (body.messages as { content: string }[])[0]?.content ?? '';
        const fault = answer(at, prompt);
        calls.push({ at, prompt, ok: fault === undefined });
        const ms = typeof latencyMs === 'number' ? latencyMs : latencyMs(prompt, fault !== undefined);
        await time.clock.sleep(ms, signal);
        return fault ?? ANSWER;
      },
    }),
  });
  const batch = await aRunningBatch(world, chatLines(lines), { linesAShard: Math.ceil(lines / shards), deadline });
  await workers.time.run(workers.runBatch(batch));
  const { results, records } = await committedResults(world, batch.ref);
  const busyMs = (from: number, to: number) =>
    workers.turns.reduce((sum, turn) => {
      const overlap = Math.min(turn.to - START, to) - Math.max(turn.from - START, from);
      return sum + Math.max(0, overlap);
    }, 0);
  return { calls, results, records, turns: workers.turns, endedMs: workers.time.now - START, busyMs };
}

const DOWN: [string, ModelAnswer][] = [
  ['500', refusal(500)],
  ['503 with Retry-After', refusal(503, 1_000)],
  ['a refused connection', { kind: 'network', reason: 'the connection was refused' }],
  ['no answer in time', { kind: 'timeout' }],
];

describe('a provider that is down for ten minutes', () => {
  it.each(DOWN)('costs no line an attempt, and its workers wait in Step Functions: %s', async (_, fault) => {
    const from = 5_000;
    const to = from + 10 * MINUTE_MS;
    const { results, records, calls, busyMs, endedMs } = await run({
      lines: 800,
      shards: 4,
      answer: (ms) => (ms >= from && ms < to ? fault : undefined),
    });
    expect(results.map(({ line, file }) => [line, file])).toEqual(
      Array.from({ length: 800 }, (_, at) => [at + 1, 'o']),
    );
    for (const record of records) expect(record).toMatchObject({ deaths: 0, attempts: {} });
    const duringIt = calls.filter(({ at }) => at > from + 15_000 && at < to);
    // One prober for all: 5, 10, 20, 40 s and then each minute, not four workers each.
    expect(duringIt.length).toBeLessThan(20);
    expect(busyMs(from, to)).toBeLessThan(0.1 * 4 * (to - from));
    // Back within a minute and some.
    expect(endedMs).toBeLessThan(to + 2 * MINUTE_MS);
  });

  it('after it has ended what it had begun costs no line an attempt either', async () => {
    const [from, to] = [2_000, 2 * MINUTE_MS];
    const { results } = await run({
      maxAttempts: 2,
      lines: 80,
      // A restart: nobody is let in any more, and answers go out one after the other.
      answer: (ms) => (ms >= from && ms < to ? { kind: 'network', reason: 'the connection was refused' } : undefined),
      latencyMs: (prompt, isFault) => (isFault ? 700 : 3_000 + 1_000 * (Number(prompt.split('-')[1]) % 8)),
    });
    expect(results.filter(({ file }) => file === 'o')).toHaveLength(80);
  });

  it('from the first call on costs no line an attempt either', async () => {
    const to = 10 * MINUTE_MS;
    const { results, endedMs } = await run({ lines: 1, answer: (ms) => (ms < to ? refusal(500) : undefined) });
    expect(results).toMatchObject([{ line: 1, file: 'o' }]);
    expect(endedMs).toBeLessThan(to + 2 * MINUTE_MS);
  });
});

describe('a line that fails while others do not', () => {
  it('ends with its fifth attempt, and holds up nobody', async () => {
    const { results, calls } = await run({
      lines: 800,
      answer: (_, prompt) => (prompt === 'request-7' ? refusal(500) : undefined),
    });
    expect(results.filter(({ file }) => file === 'e')).toMatchObject([
      { line: 7, json: { error: { code: 'model_unavailable' }, attempts: 5 } },
    ]);
    expect(calls.filter(({ prompt }) => prompt === 'request-7')).toHaveLength(5);
  });

  it('ends all the same where nobody is beside it, after the patience with an outage', async () => {
    const { results, turns, busyMs, endedMs } = await run({ lines: 1, answer: () => refusal(500) });
    expect(results).toMatchObject([
      { line: 1, file: 'e', json: { error: { code: 'model_unavailable' }, attempts: 5 } },
    ]);
    expect(endedMs).toBeGreaterThan(12 * MINUTE_MS);
    expect(endedMs).toBeLessThan(20 * MINUTE_MS);
    expect(busyMs(0, endedMs)).toBeLessThan(0.2 * endedMs);
    expect(turns.length).toBeGreaterThan(10);
  });

  it.each<[string, ModelAnswer, number]>([
    ['each call takes as long as it may, two to a turn', { kind: 'timeout' }, 300_000],
    ['each answer asks for a pause that ends the turn', refusal(503, 60_000), 500],
  ])('ends all the same where no turn sees more than one or two of its faults: %s', async (_, fault, latencyMs) => {
    const { results, endedMs } = await run({ lines: 1, answer: () => fault, latencyMs });
    expect(results).toMatchObject([{ line: 1, file: 'e', json: { attempts: 5 } }]);
    expect(endedMs).toBeGreaterThan(12 * MINUTE_MS);
    expect(endedMs).toBeLessThan(90 * MINUTE_MS);
  });

  it('ends where it is the last of its batch but other workers are served', async () => {
    const { results, endedMs } = await run({
      lines: 3_000,
      shards: 2,
      // The first shard has one line that fails, and is through long before the second.
      answer: (_, prompt) => (prompt === 'request-7' ? refusal(500) : undefined),
    });
    expect(results.filter(({ file }) => file === 'e')).toMatchObject([{ line: 7, json: { attempts: 5 } }]);
    expect(endedMs).toBeLessThan(20 * MINUTE_MS);
  });
});

describe('a model that is down until the window ends', () => {
  it('is not waited for beyond it', async () => {
    const { results, endedMs, turns } = await run({
      lines: 20,
      deadline: START + 7 * MINUTE_MS + 1_234,
      answer: () => refusal(503),
    });
    expect(results.every(({ file }) => file === 'e')).toBe(true);
    expect(endedMs).toBeLessThanOrEqual(7 * MINUTE_MS + 2_500);
    expect(turns.at(-1)?.next).toBe('end');
  });
});

describe('a model that is down beside one that is up', () => {
  it('holds up only its own lines, also where its state is known before the other’s', async () => {
    const servedAt: number[] = [];
    const workers = workersInTime(world, {
      seed: 1,
      slowCircuit: 'other',
      worker: { inFlightStart: 8, inFlightMax: 8 },
      model: (time) => ({
        async call({ body, signal }) {
          await time.clock.sleep(500, signal);
          if (body.model === 'model-1') return refusal(500);
          servedAt.push(time.now - START);
          return ANSWER;
        },
      }),
    });
    const lines = Array.from({ length: 40 }, (_, at) => chatLine(`l-${at}`, { model: at % 2 ? 'other' : 'default' }));
    const batch = await aRunningBatch(world, lines, { deadline: START + 10 * MINUTE_MS });
    // Known to be down for so long that a worker would rather end its turn than wait.
    let circuit = await workers.circuits.open('default', undefined, START - 90_000);
    for (let failures = 1; failures < 6; failures++) {
      if (circuit.state !== 'open') throw new Error('It is not open');
      circuit = await workers.circuits.open('default', circuit, START - (failures < 5 ? 90_000 : 1_000));
    }
    await workers.time.run(workers.runBatch(batch));
    const { results } = await committedResults(world, batch.ref);
    expect(results.filter(({ file }) => file === 'o').map(({ line }) => line)).toEqual(
      Array.from({ length: 20 }, (_, at) => 2 * at + 2),
    );
    expect(Math.max(...servedAt)).toBeLessThan(10_000);
    expect(workers.turns[0]?.next).toBe('wait');
  });
});

describe('a model that fails one call in five', () => {
  it('is called all the same, and lines end by their own attempts', async () => {
    let calls = 0;
    const { results, endedMs } = await run({
      lines: 1_000,
      answer: () => (++calls % 5 === 0 ? refusal(500) : undefined),
    });
    expect(results.filter(({ file }) => file === 'o').length).toBeGreaterThan(990);
    expect(endedMs).toBeLessThan(5 * MINUTE_MS);
  });
});
