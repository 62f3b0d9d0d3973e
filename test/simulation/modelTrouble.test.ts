import { afterEach, describe, expect, test } from 'vitest';
import { chatAnswer } from '../support/modelServer.ts';
import { chatLines, testModels } from '../support/shardWorld.ts';
import { type Simulation, startSimulation } from './simulation.ts';
import { submit, untilEnded } from './submit.ts';

const LINES = 300;
const MINUTE_MS = 60_000;

let simulation: Simulation | undefined;
afterEach(async () => {
  await simulation?.close();
  simulation = undefined;
});

/** `status`: what the model answers at that time, from the start. */
async function start(status: (ms: number) => number): Promise<Simulation> {
  simulation = await startSimulation({
    models: testModels({ kind: 'simulator' }),
    random: { next: () => 0.5 },
    settings: { shards: { maxWorkers: 3 }, worker: { inFlightStart: 4, inFlightMax: 4 } },
    model: (time) => {
      const startedAt = time.now;
      return {
        call: async ({ signal }) => {
          await time.clock.sleep(1_000, signal);
          const code = status(time.now - startedAt);
          const body = code === 200 ? chatAnswer('ok') : '{"error":{"message":"no"}}';
          return { kind: 'answered', status: code, body: Buffer.from(body) };
        },
      };
    },
  });
  return simulation;
}

describe('a model that is down for ten minutes', () => {
  test('is waited for by the machine: one attempt, every line in the output', async () => {
    const simulation = await start((ms) => (ms > 10_000 && ms < 10 * MINUTE_MS + 10_000 ? 503 : 200));
    const head = await simulation.run(async () => untilEnded(simulation, await submit(simulation, chatLines(LINES))));
    expect(head).toMatchObject({
      status: 'completed',
      attempt: 1,
      requestCounts: { total: LINES, completed: LINES, failed: 0 },
    });
    expect(head.errorsFile).toBeUndefined();
    const waits = simulation.log.lines.filter(
      ({ message, fields }) => message === 'step' && fields?.step === 'runShard' && fields.next === 'wait',
    );
    expect(waits.length).toBeGreaterThan(3 * 5);
  });
});

describe('a batch whose only model refuses the credentials', () => {
  test('is failed at once; every line says why it has no answer', async () => {
    const simulation = await start((ms) => (ms > 10_000 ? 401 : 200));
    const begun = simulation.time.now;
    const head = await simulation.run(async () => untilEnded(simulation, await submit(simulation, chatLines(LINES))));
    expect(head).toMatchObject({
      status: 'failed',
      outcome: { reason: 'model_unauthorized' },
      plan: { models: ['default'] },
    });
    const { completed, failed } = head.requestCounts;
    expect(completed).toBeGreaterThan(0);
    expect(completed + failed).toBe(LINES);
    const errors = (await simulation.readText(head.errorsFile?.key ?? '')).trimEnd().split('\n');
    const codes = errors.map((line) => (JSON.parse(line) as { error: { code: string } }).error.code);
    expect(codes).toHaveLength(failed);
    expect(codes.filter((code) => code === 'model_unauthorized').length).toBeLessThanOrEqual(3 * 4);
    expect(new Set(codes)).toEqual(new Set(['model_unauthorized', 'batch_failed']));
    expect(simulation.time.now - begun).toBeLessThan(2 * MINUTE_MS);
  });
});
