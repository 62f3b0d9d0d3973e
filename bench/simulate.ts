import Table from 'cli-table3';
import { readStage } from '../infra/config.ts';
import { totalFees } from './fees/billedUse.ts';
import { type LimitUse, shareOf } from './growth/limits.ts';
import { type Simulation, simulate } from './growth/simulation.ts';
import { jobCommand, jobOf } from './jobOptions.ts';
import { count, dollars, duration } from './text.ts';

/** `npm run simulate`: how time, fees and the use of AWS's limits grow up to so many lines. */
const command = jobCommand('simulate', "Runs 1M, 10M … lines on AWS's limits in virtual time.", [
  'npm run simulate -- --lines 100000000',
  'npm run simulate -- --lines 10000000 --latency 5s --requests-per-minute 30000',
]).parse();

const options = command.opts();
const stage = readStage(options.stage);
const SHOWN_LIMITS = 4;

const sizes: number[] = [];
for (let lines = options.lines; sizes.length < 3 && lines >= 1; lines /= 10) sizes.unshift(Math.floor(lines));
const runs = sizes.map((lines) => ({ lines, ...simulate(jobOf({ ...options, lines }, stage), stage.settings) }));

if (options.json) console.log(JSON.stringify(runs, null, 2));
else {
  const table = new Table({
    head: ['', ...runs.map(({ lines }) => `${count(lines)} lines`)],
    style: { head: [], border: [] },
    colAligns: ['left', ...runs.map(() => 'right' as const)],
  });
  const row = (name: string, text: (run: Simulation & { lines: number }) => string) =>
    table.push([name, ...runs.map(text)]);
  row('batches, at once', ({ batches, atOnce }) => `${count(batches)}, ${count(atOnce)}`);
  row('shards of a batch', ({ plan }) => `${count(plan.shards)} × ${count(plan.linesPerShard)} lines`);
  row('workers of a batch, of all', ({ plan, peakWorkers }) => `${plan.workers}, ${count(peakWorkers)}`);
  row('calls in flight of a worker', ({ plan }) => count(plan.inFlight));
  row('time', ({ seconds }) => duration(seconds));
  row('lines a second', ({ lines, seconds }) => count(lines / seconds));
  row('fees', ({ use }) => dollars(totalFees(use)));
  row('fees of a million lines', ({ lines, use }) => dollars((totalFees(use) / lines) * 1e6));
  row('nearest limit of AWS', ({ limits }) => describe(limits.find(({ of }) => of === 'AWS')));
  console.log(table.toString());
  for (const { lines, batches, atOnce, limits, inOneRun } of runs) {
    const nearest = limits.slice(0, SHOWN_LIMITS).map(describe);
    console.log(`\n${count(lines)} lines. Limits in use: ${nearest.join('; ')}.`);
    if (inOneRun.length === 0) continue;
    const refused = inOneRun.filter(({ of }) => of === 'ours').map(describe);
    const first = inOneRun.find(({ of }) => of === 'AWS');
    console.log(
      `Cut into ${count(batches)} files, ${count(atOnce)} at once. In one run they are refused at validation: ${refused.join('; ')}.`,
    );
    if (first) console.log(`The first limit of AWS that one run would meet: ${describe(first)}.`);
  }
}

function describe(use: LimitUse | undefined): string {
  if (!use) return '';
  const share = shareOf(use);
  return `${use.limit} ${count(use.used)} of ${count(use.most)} ${use.unit} (${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %)`;
}
