import { DynamoDBClient, type DynamoDBClientConfig } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';

/** What every store is made from: the client and the one table. */
export type Table = { client: DynamoDBDocumentClient; tableName: string };

/**
 * The client of all stores. Where it connects to comes from the SDK's own variables (`AWS_ENDPOINT_URL_DYNAMODB`) or
 * from `config`.
 */
export function createDocumentClient(config: DynamoDBClientConfig = {}): DynamoDBDocumentClient {
  const client = new DynamoDBClient({
    // Standard mode backs off with jitter from 50 ms. Five retries outlast a partition split or a throttled second;
    // the SDK's default of 3 attempts does not.
    maxAttempts: 6,
    retryMode: 'standard',
    requestHandler: {
      // DynamoDB answers in single-digit milliseconds. 1 s and 5 s are far above that, and six tries still end well
      // before the 29 s that an API handler has.
      connectionTimeout: 1_000,
      requestTimeout: 5_000,
      throwOnRequestTimeout: true,
    },
    ...config,
  });
  return DynamoDBDocumentClient.from(client, {
    // A field that is not there is left out, as the schemas have it.
    marshallOptions: { removeUndefinedValues: true },
  });
}
