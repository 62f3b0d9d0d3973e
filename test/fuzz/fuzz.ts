import { parseArgs } from 'node:util';
import { Finding, fuzz } from './run.ts';
import { TARGET_NAMES } from './targets.ts';

/**
 * `npm run fuzz -- --minutes 10`: changes the kept corpus for as long, all targets or the one that is named, and exits 1
 * at the first input that comes out wrong. `--seed 5` makes the same inputs again.
 */
const { values } = parseArgs({
  options: { target: { type: 'string' }, minutes: { type: 'string', default: '4' }, seed: { type: 'string' } },
});
const chosen = TARGET_NAMES.filter((name) => values.target === undefined || name === values.target);
if (chosen.length === 0) throw new Error(`--target takes one of: ${TARGET_NAMES.join(', ')}`);
const minutes = Number(values.minutes);
if (!(minutes > 0)) throw new Error('--minutes takes a number over 0');
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
if (!Number.isSafeInteger(seed)) throw new Error('--seed takes a whole number');

const PROGRESS_EVERY = 10_000;
console.log(`Seed ${seed}`);
try {
  for (const name of chosen) {
    const end = performance.now() + (minutes * 60_000) / chosen.length;
    const { executions: count } = await fuzz(name, seed, (executions) => {
      if (executions % PROGRESS_EVERY === 0) console.log(`${name}: ${executions} inputs`);
      return performance.now() < end;
    });
    console.log(`${name}: ${count} inputs, each came out as it went in or got its error`);
  }
} catch (error) {
  if (!(error instanceof Finding)) throw error;
  console.error(`${error.message}\nThe tests begin with it from now on. Again: npm run fuzz -- --seed ${seed}`);
  console.error(error.cause);
  process.exitCode = 1;
}
