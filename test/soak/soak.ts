import { parseArgs } from 'node:util';
import { report } from './report.ts';
import { runSoak } from './run.ts';

/** `npm run soak`: batches of all kinds against a system that is stopped and killed. Exits 1 at the first violation. */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    // The contract's bound; a machine that does much else beside is slower.
    'cancel-seconds': { type: 'string', default: '30' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
  },
});
const seed = Number(values.seed);
const minutes = Number(values.minutes);
const cancelSeconds = Number(values['cancel-seconds']);
if (!Number.isInteger(seed) || !(minutes > 0)) throw new Error('--seed takes a whole number, --minutes a number');

console.log(`Soak of ${minutes} minutes with seed ${seed}`);
const result = await runSoak({
  seed,
  seconds: minutes * 60,
  drainSeconds: 1_500,
  openBatches: 8,
  restartSeconds: [15, 45],
  bounds: { cancelSeconds, cancelAfterRestartSeconds: 2 * cancelSeconds, expirySeconds: 150, skewMs: 0 },
  brief: minutes < 4,
  killsWorkers: true,
  onProgress: (text) => console.log(text),
});
const { violation, dataDir } = result;
if (violation) {
  console.error(`\nVIOLATION (seed ${seed}) ${violation.batchId ?? ''}\n${violation.message}`);
  console.error(`The data folder is kept: ${dataDir}\n`);
}
console.log(report(result));
process.exit(violation ? 1 : 0);
