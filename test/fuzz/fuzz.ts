import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fuzz, keep } from './run.ts';
import { TARGETS } from './targets.ts';

/**
 * `npm run fuzz -- --minutes 10`: inputs made of the corpus until the time is over or one fails; that one is written to
 * the corpus, and the exit code is 1. All targets share the time, unless one is named (`--target lines`). Without a seed
 * (`--seed 7`) one is drawn and printed.
 */
const { values } = parseArgs({
  options: { target: { type: 'string' }, minutes: { type: 'string', default: '4' }, seed: { type: 'string' } },
});
const targets = TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (targets.length === 0) throw new Error(`--target must be one of ${TARGETS.map(({ name }) => name).join(', ')}`);
if (!(minutes > 0)) throw new Error('--minutes takes a number over 0');
if (!Number.isSafeInteger(seed) || seed < 0) throw new Error('--seed takes a whole number');

for (const target of targets) {
  console.log(`Target ${target.name}, seed ${seed}, ${(minutes / targets.length).toFixed(1)} minutes`);
  const until = Date.now() + (minutes / targets.length) * 60_000;
  const { executions, failure } = await fuzz(target, seed, () => Date.now() < until);
  if (failure) {
    console.error(failure.error);
    console.error(`Input ${failure.execution} failed; it is kept in ${await keep(target, failure.input)}`);
    process.exitCode = 1;
    break;
  }
  console.log(`${executions} inputs, none failed`);
}
