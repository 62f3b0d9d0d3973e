import { InvalidArgumentError } from '@commander-js/extra-typings';
import Table from 'cli-table3';
import { readStage } from '../infra/config.ts';
import { feesOf, SERVICES, totalFees } from './fees/billedUse.ts';
import { PRICES } from './fees/prices.ts';
import { simulate } from './growth/simulation.ts';
import { amount, jobCommand, jobOf, tokensOfBytes } from './jobOptions.ts';
import { count, dollars, duration } from './text.ts';

/** `npm run cost`: what a job will cost in fees of AWS, by service, beside what its model costs. */
const command = jobCommand('cost', 'Forecasts the fees of a batch by service, beside those of its model.', [
  'npm run cost -- --lines 1000000 --latency 1s --tokens 500',
  'npm run cost -- --lines 20000 --latency 8s --tokens 1500 --price-in 2.5 --price-out 10',
])
  .option('--prompt-tokens <count>', 'tokens of a prompt (default: a quarter of --bytes)', amount)
  .option('--price-in <dollars>', 'of a model, for a million prompt tokens', perMillion, 0.15)
  .option('--price-out <dollars>', 'of a model, for a million answer tokens', perMillion, 0.6)
  .parse();

function perMillion(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('It must be dollars for a million tokens.');
}

const options = command.opts();
const stage = readStage(options.stage);
const job = jobOf(options, stage);
const { use, plan, batches, seconds } = simulate(job, stage.settings);
const fees = feesOf(use);
const total = totalFees(use);
const promptTokens = options.promptTokens ?? tokensOfBytes(options.bytes);
const model = (job.lines * (promptTokens * options.priceIn + options.tokens * options.priceOut)) / 1e6;
const GB = 1e9;
const storage = ((job.lines * (job.lineBytes + job.answerBytes)) / GB) * PRICES.usd.s3GbMonth;
const egress = ((job.lines * job.answerBytes) / GB) * PRICES.usd.egressGb;

if (options.json) {
  const figures = { job, batches, plan, seconds, use, fees, total, model, storagePerMonth: storage, egress };
  console.log(JSON.stringify(figures, null, 2));
} else {
  const counted: Record<(typeof SERVICES)[number], string> = {
    'Step Functions': `${count(use.stateTransitions)} state transitions`,
    Lambda: `${count(use.lambdaGbSeconds)} GB-seconds, ${count(use.lambdaRequests)} invocations`,
    S3: `${count(use.s3Puts)} writes, ${count(use.s3Gets)} reads`,
    DynamoDB: `${count(use.dynamoDbWriteUnits)} write units, ${count(use.dynamoDbReadUnits)} read units`,
    'API Gateway': `${count(use.apiRequests)} requests`,
    'Secrets Manager': `${count(use.secretRequests)} requests`,
  };
  const table = new Table({
    head: ['', 'what', 'fees', 'share'],
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'right', 'right'],
  });
  for (const service of SERVICES)
    table.push([service, counted[service], dollars(fees[service]), `${((100 * fees[service]) / total).toFixed(0)} %`]);
  table.push(['All of AWS', `${dollars((total / job.lines) * 1e6)} a million lines`, dollars(total), '100 %']);
  table.push(['The model', `${count(promptTokens)} + ${count(options.tokens)} tokens a line`, dollars(model), '']);
  console.log(
    `${count(job.lines)} lines of ${count(job.lineBytes)} bytes, ${duration(job.latencyMs / 1_000)} a call: ` +
      `${batches > 1 ? `${count(batches)} batches, each of ` : ''}${count(plan.shards)} shards of ${count(plan.linesPerShard)} lines, ` +
      `${plan.workers} workers with ${plan.inFlight} calls in flight, ${duration(seconds)} in all`,
  );
  console.log(table.toString());
  console.log(
    `AWS is ${((100 * total) / (total + model)).toFixed(1)} % of the whole. Not in it: keeping input and results ${dollars(storage)} a month; ` +
      `downloading results over the internet ${dollars(egress)}.\n` +
      `Prices: ${PRICES.region}, ${PRICES.date}, without free tiers (bench/fees/prices.ts). The model's: ` +
      `${dollars(options.priceIn)} and ${dollars(options.priceOut)} a million tokens (--price-in, --price-out).`,
  );
}
