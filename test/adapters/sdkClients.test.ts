import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { expect, test } from 'vitest';
import { createDocumentClient } from '../../shared/adapters/dynamodb/client.ts';
import { createS3Client } from '../../shared/adapters/s3/client.ts';

const region = 'us-east-1';
const isLogging = (entry: string) => entry.startsWith('loggerMiddleware');

test('the clients copy no input and output for a log, as the SDK does by itself', () => {
  expect(new DynamoDBClient({ region }).middlewareStack.identify().some(isLogging)).toBe(true);
  for (const client of [createDocumentClient({ region }), createS3Client({ region })])
    expect(client.middlewareStack.identify().filter(isLogging)).toEqual([]);
});
