import Table from 'cli-table3';
import { type BilledUse, feesOf, SERVICES, totalFees } from './fees/billedUse.ts';
import { count, dollars } from './text.ts';

/** What was used, what it costs, and which share of all that is, by service. */
export function feesTable(use: BilledUse, more: [name: string, what: string, fees: string][] = []): string {
  const used: Record<(typeof SERVICES)[number], string> = {
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
  const fees = feesOf(use);
  const total = totalFees(use);
  const share = (dollars: number) => (total === 0 ? '' : `${((100 * dollars) / total).toFixed(0)} %`);
  for (const service of SERVICES) table.push([service, used[service], dollars(fees[service]), share(fees[service])]);
  for (const row of more) table.push([...row, '']);
  return table.toString();
}
