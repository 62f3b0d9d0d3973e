import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from '@commander-js/extra-typings';
import { bundles } from './figures/bundles.ts';
import { fees } from './figures/fees.ts';
import { finalize } from './figures/finalize.ts';
import { lists } from './figures/lists.ts';
import { pipeline } from './figures/pipeline.ts';
import { validate } from './figures/validate.ts';
import { workerMemory } from './figures/workerMemory.ts';
import { FIGURE_IDS, type FigureId } from './figureTable.ts';
import { amount } from './jobOptions.ts';
import type { FigureGroup, Readings } from './measured.ts';
import { belowFloor, describeMachine, resultsOf, resultsTable } from './results.ts';
import { duration } from './text.ts';

/** `npm run bench`: measures every figure, prints one table, and writes `bench/results.json`. */
const GROUPS: readonly FigureGroup[] = [pipeline, validate, workerMemory, finalize, lists, bundles, fees];
/** Fewer give a median that one disturbance moves. */
const REPEATS = 5;

const { only, repeats, out } = new Command('npm run bench --')
  .description('Measures how fast and how dear the product is, in less than 15 minutes.')
  .allowExcessArguments(false)
  .showHelpAfterError('Add --help to see how it is called.')
  .option('--only <ids>', `some of: ${FIGURE_IDS.join(', ')}`, figureIds)
  .option('--repeats <count>', 'measurements of each of two things', amount, REPEATS)
  .option('--out <file>', 'of the results', fileURLToPath(new URL('./results.json', import.meta.url)))
  .addHelpText('after', '\nExamples:\n  npm run bench\n  npm run bench -- --only validate,finalize')
  .parse()
  .opts();

function figureIds(text: string): FigureId[] {
  return text.split(',').map((name) => {
    const id = FIGURE_IDS.find((each) => each === name.trim());
    if (id) return id;
    throw new InvalidArgumentError(`There is no figure ${name.trim()}.`);
  });
}

// All that is written, up to 6 GB at a time, lies in one folder, which goes with the process, also by Ctrl-C.
const scratch = mkdtempSync(join(tmpdir(), 'batch-api-bench-'));
process.env.TMPDIR = scratch;
process.on('exit', () => rmSync(scratch, { recursive: true, force: true, maxRetries: 3 }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const machine = describeMachine();
const start = performance.now();
const say = (text: string) => {
  const minutes = new Date(performance.now() - start).toISOString().slice(14, 19);
  process.stderr.write(`${minutes} ${text}\n`);
};
say(machine);

const readings: Readings = {};
for (const group of GROUPS) {
  const wanted = group.ids.filter((id) => only?.includes(id) ?? true);
  if (wanted.length === 0) continue;
  const measured = await group.measure({ repeats, wants: (id) => wanted.includes(id), say });
  for (const id of wanted) {
    const reading = measured[id];
    if (!reading) throw new Error(`${id} was not measured`);
    readings[id] = reading;
  }
}

const results = resultsOf(readings, machine);
writeFileSync(out, `${JSON.stringify(results, null, 2)}\n`);
console.log(resultsTable(readings));
console.log(`${machine}. Medians of ${repeats}; ${duration((performance.now() - start) / 1_000)} in all.`);
const short = belowFloor(results);
if (short.length > 0) {
  console.error(`Below the floor: ${short.join(', ')}.`);
  process.exitCode = 1;
}
