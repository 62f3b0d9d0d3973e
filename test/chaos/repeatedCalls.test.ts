import { expect, test } from 'vitest';
import { type Process, startSimulation } from '../simulation/simulation.ts';
import { submit, untilEnded } from '../simulation/submit.ts';
import { chatAnswer } from '../support/modelServer.ts';
import { seededRandom } from '../support/random.ts';
import { chatLines, testModels } from '../support/shardWorld.ts';

/** A crash repeats the calls since the last commit, however large the batch is: measured on a smaller one. */
const LINES = 20_000;
const KILLS = 5;
/** What the promise is about: one worker killed every so many lines. */
const LINES_A_KILL = 50_000;
const PROMISED_SHARE = 0.02;

test('a worker that dies every 50,000 lines makes under 2 % of the calls be made again', async () => {
  const random = seededRandom(1);
  const answered = new Map<string, number>();
  let answers = 0;
  let kills = 0;
  // At moments that have nothing to do with those of the commits.
  const killAt = Array.from({ length: KILLS }, (_, kill) => ((kill + random.next()) * LINES) / KILLS);
  const simulation = await startSimulation({
    models: testModels({ kind: 'simulator' }),
    random,
    model: (time) => ({
      async call({ idempotencyKey }, process: Process) {
        await time.clock.sleep(random.int(500, 1_500));
        if (process.dead) return { kind: 'network', reason: 'nobody is there' };
        answered.set(idempotencyKey, (answered.get(idempotencyKey) ?? 0) + 1);
        if (answers++ > (killAt[kills] ?? Number.POSITIVE_INFINITY)) {
          kills++;
          process.kill();
        }
        return { kind: 'answered', status: 200, body: Buffer.from(chatAnswer('ok')) };
      },
    }),
  });
  const head = await simulation.run(async () => untilEnded(simulation, await submit(simulation, chatLines(LINES))));
  await simulation.close();
  expect(head).toMatchObject({ status: 'completed', requestCounts: { total: LINES, completed: LINES, failed: 0 } });
  expect(kills).toBe(KILLS);
  const repeated = [...answered.values()].reduce((sum, calls) => sum + calls - 1, 0);
  const repeatedAKill = repeated / KILLS;
  expect(repeatedAKill / LINES_A_KILL).toBeLessThan(PROMISED_SHARE);
}, 300_000);
