import { afterEach, describe, expect, test } from 'vitest';
import { batchExecutionName } from '../../shared/domain/ids.ts';
import type { ModelAnswer } from '../../shared/ports.ts';
import { chatAnswer } from '../support/modelServer.ts';
import { chatLines, testModels } from '../support/shardWorld.ts';
import { StatesError } from './machine.ts';
import { type PortCall, type Simulation, startSimulation } from './simulation.ts';
import { submit, untilEnded } from './submit.ts';

const LINES = 12;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const ANSWER: ModelAnswer = { kind: 'answered', status: 200, body: Buffer.from(chatAnswer('ok')) };
const REFUSAL: ModelAnswer = { kind: 'answered', status: 429, body: Buffer.from('{}'), retryAfterMs: 5 * MINUTE_MS };

let simulation: Simulation | undefined;
afterEach(async () => {
  await simulation?.close();
  simulation = undefined;
});

/** What goes wrong, as the test lets it. */
type World = {
  /** Whether the worker that takes this shard fails, as where DynamoDB is not to be had. */
  fails: (shard: number) => boolean;
  /** Whether Plan fails. */
  planFails: () => boolean;
  refuses: () => boolean;
  calls: number;
};

const notNow = () => new StatesError('InternalServerError', 'not now');

async function start(world: World): Promise<Simulation> {
  simulation = await startSimulation({
    models: testModels({ kind: 'simulator' }),
    random: { next: () => 0.5 },
    // Three shards of four lines.
    settings: { shards: { maxWorkers: 3, minLines: 4 } },
    model: (time) => ({
      call: async () => {
        world.calls++;
        await time.clock.sleep(1_000);
        return world.refuses() ? REFUSAL : ANSWER;
      },
    }),
    intercept: ({ port, method, args }: PortCall, proceed) => {
      if (method === 'setCounts' && world.planFails()) return Promise.reject(notNow());
      if (port !== 'shards' || method !== 'claim') return proceed();
      // `claim(batchId, range)`
      const { shard } = args[1] as { shard: number };
      return world.fails(shard) ? Promise.reject(notNow()) : proceed();
    },
  });
  return simulation;
}

const calm = (): World => ({ fails: () => false, planFails: () => false, refuses: () => false, calls: 0 });

const roundsOf = ({ log }: Simulation) =>
  log.lines.filter(({ message }) => message === 'shards planned').map(({ fields }) => fields?.left);

describe('shards left over after the map', () => {
  test('are mapped again: a child that fails for good costs no line anything', async () => {
    const world = calm();
    const simulation = await start(world);
    // As long as the first round lasts.
    world.fails = (shard) => shard === 1 && roundsOf(simulation).length < 2;
    const head = await simulation.run(async () => untilEnded(simulation, await submit(simulation, chatLines(LINES))));
    expect(head).toMatchObject({
      status: 'completed',
      attempt: 1,
      requestCounts: { total: LINES, completed: LINES, failed: 0 },
    });
    expect(roundsOf(simulation)).toEqual([3, 1]);
    expect(world.calls).toBe(LINES);
  });

  test('of rounds that get nowhere are left to the next attempt, which goes on once the trouble is over', async () => {
    const world = calm();
    const simulation = await start(world);
    const head = await simulation.run(async () => {
      const batch = await submit(simulation, chatLines(LINES));
      const first = batchExecutionName(batch.batchId, 1);
      // Some lines are done by then; nothing else works until the first attempt has failed.
      world.fails = (shard) => shard > 0 && simulation.workflow.executions.get(first)?.status === 'running';
      return untilEnded(simulation, batch);
    });
    expect(head).toMatchObject({ status: 'completed', attempt: 2, requestCounts: { completed: LINES, failed: 0 } });
    // The first round does shard 0. The three after it do nothing, and the fourth is none.
    expect(roundsOf(simulation)).toEqual([3, 2, 2, 2, 2]);
    const failures = simulation.log.lines.filter(({ message }) => message === 'A step of the batch failed');
    expect(failures).toMatchObject([{ fields: { error: { name: 'NoProgress' }, attempt: 1 } }]);
    expect(world.calls).toBe(LINES);
  });

  test('are failed only after five attempts in a row that got nowhere, and what was done is kept', async () => {
    const world = calm();
    const simulation = await start(world);
    world.fails = (shard) => shard > 0;
    const head = await simulation.run(async () => untilEnded(simulation, await submit(simulation, chatLines(LINES))));
    expect(head).toMatchObject({
      status: 'failed',
      outcome: { reason: 'step_died' },
      requestCounts: { total: LINES, completed: 4, failed: 8 },
    });
    const errors = (await simulation.readText(head.errorsFile?.key ?? '')).trimEnd().split('\n');
    expect(errors.map((line) => JSON.parse(line).error.code)).toEqual(Array(8).fill('batch_failed'));
  });
});

describe('a model that refuses for hours', () => {
  test('is waited for, however often its batch has to be taken up again meanwhile', async () => {
    const world = calm();
    const simulation = await start(world);
    const { time } = simulation;
    const begun = time.now;
    world.refuses = () => time.now < begun + 4 * HOUR_MS;
    // Ten minutes of each half hour: longer than the workers and Plan after them are tried again.
    const trouble = () => (time.now - begun) % (30 * MINUTE_MS) > 20 * MINUTE_MS;
    world.fails = trouble;
    world.planFails = trouble;
    const head = await simulation.run(async () => untilEnded(simulation, await submit(simulation, chatLines(LINES))));
    expect(head).toMatchObject({ status: 'completed', requestCounts: { completed: LINES, failed: 0 } });
    // More than may get nowhere in a row.
    expect(head.attempt).toBeGreaterThan(6);
  });

  test('until the window ends is what its lines fail by; the batch is not failed', async () => {
    const world = calm();
    const simulation = await start(world);
    world.refuses = () => true;
    const head = await simulation.run(async () =>
      untilEnded(simulation, await submit(simulation, chatLines(LINES), { completionWindow: '20m' })),
    );
    // Lines whose next try would come after the end have failed by then, and so all are done in time.
    expect(['completed', 'expired']).toContain(head.status);
    expect(head).toMatchObject({ attempt: 1, requestCounts: { total: LINES, completed: 0, failed: LINES } });
    const errors = (await simulation.readText(head.errorsFile?.key ?? '')).trimEnd().split('\n');
    for (const line of errors) expect(['rate_limited', 'batch_expired']).toContain(JSON.parse(line).error.code);
  });
});
