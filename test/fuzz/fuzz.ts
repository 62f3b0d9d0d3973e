import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fuzz, keep } from './run.ts';
import { TARGETS } from './targets.ts';

/**
 * `npm run fuzz -- --target lines --minutes 10 --seed 7`: inputs made of the corpus until the time is over or one fails;
 * that one is written to the corpus, and the exit code is 1. Without a seed, one is drawn and printed.
 */
const { values } = parseArgs({
  options: { target: { type: 'string' }, minutes: { type: 'string', default: '1' }, seed: { type: 'string' } },
});
const target = TARGETS.find(({ name }) => name === values.target);
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (!target) throw new Error(`--target must be ${TARGETS.map(({ name }) => name).join(' or ')}`);
if (!(minutes > 0)) throw new Error('--minutes takes a number over 0');
if (!Number.isSafeInteger(seed) || seed < 0) throw new Error('--seed takes a whole number');

console.log(`Target ${target.name}, seed ${seed}, ${minutes} minutes`);
const until = Date.now() + minutes * 60_000;
const { executions, failure } = await fuzz(target, seed, () => Date.now() < until);
if (failure) {
  console.error(failure.error);
  console.error(`Input ${failure.execution} failed; it is kept in ${await keep(target, failure.input)}`);
  process.exitCode = 1;
} else console.log(`${executions} inputs, none failed`);
