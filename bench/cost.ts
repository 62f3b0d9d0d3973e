import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from '@commander-js/extra-typings';
import { readStage } from '../infra/config.ts';
import { feesOf, totalFees } from './fees/billedUse.ts';
import { readMeteredLines } from './fees/meteredLog.ts';
import { billedUseOf } from './fees/meteredUse.ts';
import { PRICES } from './fees/prices.ts';
import { feesTable } from './feesTable.ts';
import { simulate } from './growth/simulation.ts';
import { amount, jobCommand, jobOf, tokensOfBytes } from './jobOptions.ts';
import { count, dollars, duration } from './text.ts';

/** `npm run cost`: what a job will cost in fees of AWS, by service, beside what its model costs. */
const command = jobCommand('cost', 'Forecasts the fees of a batch by service, beside those of its model.', [
  'npm run cost -- --lines 1000000 --latency 1s --tokens 500',
  'npm run cost -- --lines 20000 --latency 8s --tokens 1500 --price-in 2.5 --price-out 10',
  'npm run cost -- --metered logs.txt',
])
  .option('--prompt-tokens <count>', 'tokens of a prompt (default: a quarter of --bytes)', amount)
  .option('--price-in <dollars>', 'of a model, for a million prompt tokens', perMillion, 0.15)
  .option('--price-out <dollars>', 'of a model, for a million answer tokens', perMillion, 0.6)
  .option('--metered <file>', 'no forecast: sums the log lines of a stage whose setting "metering" is on')
  .parse();

function perMillion(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('It must be dollars for a million tokens.');
}

const options = command.opts();
const priced = `Prices: ${PRICES.region}, ${PRICES.date}, without free tiers (bench/fees/prices.ts).`;
if (options.metered === undefined) forecast();
else tellMetered(options.metered);

function tellMetered(file: string): void {
  const lines = readMeteredLines(readFileSync(file, 'utf8'));
  const use = billedUseOf(lines);
  const total = totalFees(use);
  if (options.json) {
    console.log(JSON.stringify({ invocations: lines.length, use, fees: feesOf(use), total }, null, 2));
    return;
  }
  const batches = new Set(lines.flatMap(({ batch_id }) => batch_id ?? [])).size;
  console.log(feesTable(use, [['All of AWS', `${count(batches)} batches`, dollars(total)]]));
  console.log(priced);
}

function forecast(): void {
  const stage = readStage(options.stage);
  const job = jobOf(options, stage);
  const { use, plan, batches, seconds } = simulate(job, stage.settings);
  const total = totalFees(use);
  const promptTokens = options.promptTokens ?? tokensOfBytes(options.bytes);
  const model = (job.lines * (promptTokens * options.priceIn + options.tokens * options.priceOut)) / 1e6;
  const GB = 1e9;
  const storage = ((job.lines * (job.lineBytes + job.answerBytes)) / GB) * PRICES.usd.s3GbMonth;
  const egress = ((job.lines * job.answerBytes) / GB) * PRICES.usd.egressGb;
  if (options.json) {
    const figures = { job, batches, plan, seconds, use, fees: feesOf(use), total, model };
    console.log(JSON.stringify({ ...figures, storagePerMonth: storage, egress }, null, 2));
    return;
  }
  const cut = `${count(plan.shards)} shards of ${count(plan.linesPerShard)} lines`;
  const workers = `${plan.workers} workers with ${plan.inFlight} calls in flight`;
  console.log(
    `${count(job.lines)} lines of ${count(job.lineBytes)} bytes, ${duration(job.latencyMs / 1_000)} a call: ` +
      `${batches > 1 ? `${count(batches)} batches, each of ` : ''}${cut}, ${workers}, ${duration(seconds)} in all`,
  );
  console.log(
    feesTable(use, [
      ['All of AWS', `${dollars((total / job.lines) * 1e6)} a million lines`, dollars(total)],
      ['The model', `${count(promptTokens)} + ${count(options.tokens)} tokens a line`, dollars(model)],
    ]),
  );
  console.log(
    `AWS is ${((100 * total) / (total + model)).toFixed(1)} % of the whole. Not in it: keeping input and results ` +
      `${dollars(storage)} a month; downloading results over the internet ${dollars(egress)}.\n${priced} The model's: ` +
      `${dollars(options.priceIn)} and ${dollars(options.priceOut)} a million tokens (--price-in, --price-out).`,
  );
}
