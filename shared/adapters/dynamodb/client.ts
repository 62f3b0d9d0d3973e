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
      // DynamoDB answers in milliseconds; a connection or an answer that takes this long is lost, and asking again is
      // quicker. Not shorter, because on one machine the table shares the processors with all that runs; not longer,
      // so that two lost tries still leave an API handler time within its 29 s.
      connectionTimeout: 3_000,
      requestTimeout: 8_000,
      throwOnRequestTimeout: true,
    },
    ...config,
  });
  // It makes a copy of each call's input and output, fit for a log that nobody has: a tenth of a call's processor time.
  client.middlewareStack.remove('loggerMiddleware');
  return DynamoDBDocumentClient.from(client, {
    marshallOptions: {
      // A field that is not there is left out, as the schemas have it.
      removeUndefinedValues: true,
      // Metadata may have a key `constructor`; the marshaller takes such an object for a class instance.
      convertClassInstanceToMap: true,
    },
  });
}
