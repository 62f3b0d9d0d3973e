import { parseArgs } from 'node:util';
import type { Violation } from '../soak/violation.ts';
import { runProcesses } from './processRun.ts';
import { addProcesses, addTo, emptyTotals, report } from './report.ts';
import { runSimulated } from './simulatedRun.ts';
import { startChaosStack } from './stack.ts';

/**
 * `npm run chaos -- --runs 500 --seed 1`: runs of all kinds under faults of all kinds, each drawn from the seed and its
 * number; after them some of whole systems in processes. Exits 1 at the first violation. `--run 37` makes that one run,
 * `--events` prints what it did, `--process-run 2` makes that one of a whole system.
 */
const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    run: { type: 'string' },
    'process-runs': { type: 'string' },
    'process-run': { type: 'string' },
    seed: { type: 'string', default: '1' },
    events: { type: 'boolean', default: false },
  },
});
const wholeNumber = (name: string, text: string) => {
  if (!/^\d+$/.test(text)) throw new Error(`--${name} takes a whole number`);
  return Number(text);
};
const isOne = values.run !== undefined || values['process-run'] !== undefined;
const seed = wholeNumber('seed', values.seed);
const runs = wholeNumber('runs', values.runs ?? (isOne ? '0' : '40'));
/** A whole system takes minutes. */
const SIMULATED_A_PROCESS_RUN = 100;
const processRuns = wholeNumber(
  'process-runs',
  values['process-runs'] ?? String(Math.floor(runs / SIMULATED_A_PROCESS_RUN)),
);

/** A table in memory grows: a new one after so many runs. */
const RUNS_A_STACK = 50;
const PROGRESS_EVERY_MS = 10_000;

const begun = Date.now();
const secondsSoFar = () => (Date.now() - begun) / 1000;
const totals = emptyTotals();
let saidAt = begun;

function end(violation: Violation | undefined, again: string): void {
  if (!violation) return;
  console.error(`\nVIOLATION ${violation.batchId ?? ''}\n${violation.message}`);
  console.error(`To see it again: npm run chaos -- --seed ${seed} ${again}\n`);
  console.log(report(totals, secondsSoFar()));
  process.exit(1);
}

async function simulated(numbers: number[]): Promise<void> {
  if (numbers.length === 0) return;
  let stack = await startChaosStack();
  for (const [index, run] of numbers.entries()) {
    if (index > 0 && index % RUNS_A_STACK === 0) {
      await stack.close();
      stack = await startChaosStack();
    }
    const onEvent = values.events ? { onEvent: (event: string) => console.log(event) } : {};
    const result = await runSimulated({ stack, seed, run, ...onEvent });
    addTo(totals, result);
    if (values.run !== undefined)
      console.log(`${result.virtualMinutes.toFixed(1)} virtual minutes, digest ${result.digest}`);
    end(result.violation, `--run ${run}`);
    if (isOne || Date.now() - saidAt < PROGRESS_EVERY_MS) continue;
    saidAt = Date.now();
    const { lines, calls } = totals;
    console.log(
      `${Math.round(secondsSoFar())} s · ${totals.runs} of ${runs} runs · ${lines} lines checked · ${calls} model calls`,
    );
  }
  await stack.close();
}

async function inProcesses(numbers: number[]): Promise<void> {
  for (const run of numbers) {
    const result = await runProcesses(seed, run, (text) => console.log(`whole system ${run} · ${text}`));
    addProcesses(totals, result);
    if (result.violation) console.error(`The data folder is kept: ${result.dataDir}`);
    end(result.violation, `--process-run ${run}`);
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
await simulated(values.run === undefined ? upTo(runs) : [wholeNumber('run', values.run)]);
const one = values['process-run'];
await inProcesses(one === undefined ? upTo(processRuns) : [wholeNumber('process-run', one)]);
console.log(report(totals, secondsSoFar()));
process.exit(0);
