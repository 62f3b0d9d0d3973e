import { PRICES } from './prices.ts';

/** What AWS charges a batch for, in the units of the price list. */
export type BilledUse = {
  stateTransitions: number;
  lambdaRequests: number;
  lambdaGbSeconds: number;
  s3Puts: number;
  s3Gets: number;
  dynamoDbWriteUnits: number;
  dynamoDbReadUnits: number;
  apiRequests: number;
  secretRequests: number;
};

export const NO_USE: BilledUse = {
  stateTransitions: 0,
  lambdaRequests: 0,
  lambdaGbSeconds: 0,
  s3Puts: 0,
  s3Gets: 0,
  dynamoDbWriteUnits: 0,
  dynamoDbReadUnits: 0,
  apiRequests: 0,
  secretRequests: 0,
};

const UNITS = Object.keys(NO_USE) as (keyof BilledUse)[];

/** `a + factor × b`, unit by unit. */
export function addUse(a: BilledUse, b: Partial<BilledUse>, factor = 1): BilledUse {
  const sum = { ...a };
  for (const unit of UNITS) sum[unit] += factor * (b[unit] ?? 0);
  return sum;
}

export const SERVICES = ['Step Functions', 'Lambda', 'S3', 'DynamoDB', 'API Gateway', 'Secrets Manager'] as const;
export type Service = (typeof SERVICES)[number];

/** Dollars by service. */
export function feesOf(use: BilledUse): Record<Service, number> {
  const { usd } = PRICES;
  return {
    'Step Functions': use.stateTransitions * usd.stateTransition,
    Lambda: use.lambdaRequests * usd.lambdaRequest + use.lambdaGbSeconds * usd.lambdaGbSecond,
    S3: use.s3Puts * usd.s3Put + use.s3Gets * usd.s3Get,
    DynamoDB: use.dynamoDbWriteUnits * usd.dynamoDbWriteUnit + use.dynamoDbReadUnits * usd.dynamoDbReadUnit,
    'API Gateway': use.apiRequests * usd.apiRequest,
    'Secrets Manager': use.secretRequests * usd.secretRequest,
  };
}

export function totalFees(use: BilledUse): number {
  return Object.values(feesOf(use)).reduce((sum, dollars) => sum + dollars, 0);
}
