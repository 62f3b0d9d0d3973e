import { parseArgs } from 'node:util';
import { startStack } from '../simulation/stack.ts';
import { loseAnswersOf } from './lostAnswers.ts';
import { addTo, emptyTotals, report } from './report.ts';
import { runSimulated } from './simulatedRun.ts';

/**
 * `npm run chaos -- --runs 500 --seed 1`: runs of all kinds under faults of all kinds, each drawn from the seed and its
 * number. Exits 1 at the first violation. `--run 37` does that one run; `--events` prints what it did.
 */
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '40' },
    run: { type: 'string' },
    seed: { type: 'string', default: '1' },
    events: { type: 'boolean', default: false },
  },
});
const seed = Number(values.seed);
const first = values.run === undefined ? 1 : Number(values.run);
const runs = values.run === undefined ? Number(values.runs) : 1;
if (![seed, first, runs].every(Number.isInteger)) throw new Error('--seed, --runs and --run take whole numbers');

/** A table in memory grows: a new one after so many runs. */
const RUNS_A_STACK = 50;
const PROGRESS_EVERY_MS = 10_000;

const begun = Date.now();
const totals = emptyTotals();
let saidAt = begun;
let stack = await startStack();
loseAnswersOf(stack);
for (let run = first; run < first + runs; run++) {
  if (run > first && (run - first) % RUNS_A_STACK === 0) {
    await stack.close();
    stack = await startStack();
    loseAnswersOf(stack);
  }
  const result = await runSimulated({
    ...{ stack, seed, run },
    ...(values.events ? { onEvent: (event: string) => console.log(event) } : {}),
  });
  addTo(totals, result);
  if (values.run !== undefined)
    console.log(`digest ${result.digest}, ${result.virtualMinutes.toFixed(1)} virtual minutes`);
  if (result.violation) {
    const { batchId = '', message } = result.violation;
    console.error(`\nVIOLATION in run ${run} of seed ${seed} ${batchId}\n${message}`);
    console.error(`To see it again: npm run chaos -- --seed ${seed} --run ${run}\n`);
    console.log(report(totals, (Date.now() - begun) / 1000));
    process.exit(1);
  }
  if (Date.now() - saidAt < PROGRESS_EVERY_MS) continue;
  saidAt = Date.now();
  const seconds = Math.round((saidAt - begun) / 1000);
  console.log(
    `${seconds} s · ${totals.runs} of ${runs} runs · ${totals.lines} lines checked · ${totals.calls} model calls`,
  );
}
console.log(report(totals, (Date.now() - begun) / 1000));
await stack.close();
process.exit(0);
