/**
 * List prices in US dollars, without free tiers, discounts by volume and taxes. Of another region, or of another day:
 * change the numbers here; nothing else knows a price.
 */
export const PRICES = {
  region: 'us-east-1',
  /** When they were put down here. */
  date: '2026-11-22',
  source: 'https://aws.amazon.com/pricing/ (list prices of each service)',
  usd: {
    /** Standard workflows. Express ones cost 0.000001 a request and 0.00001667 a GB-second. */
    stateTransition: 0.000025,
    lambdaRequest: 0.0000002,
    /** arm64, below 7.5 billion GB-seconds a month. */
    lambdaGbSecond: 0.0000133334,
    /** PUT, COPY, POST and LIST; deleting is free. */
    s3Put: 0.000005,
    s3Get: 0.0000004,
    s3GbMonth: 0.023,
    /** On demand. */
    dynamoDbWriteUnit: 0.000000625,
    dynamoDbReadUnit: 0.000000125,
    apiRequest: 0.000001,
    secretRequest: 0.000005,
    egressGb: 0.09,
  },
} as const;
