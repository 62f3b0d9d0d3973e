import type { AddressInfo } from 'node:net';
import { CreateTableCommand, DescribeTableCommand } from '@aws-sdk/client-dynamodb';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import dynalite from 'dynalite';
import { createDocumentClient } from '../../shared/adapters/dynamodb/client.ts';
import { TABLE } from '../../shared/contract/table.ts';

export type TestTable = {
  client: DynamoDBDocumentClient;
  tableName: string;
  endpoint: string;
  close(): Promise<void>;
};

/** An in-memory DynamoDB with the one table and its two indexes, on a port of its own. */
export async function startDynalite(): Promise<TestTable> {
  const server = dynalite({ createTableMs: 0, updateTableMs: 0, deleteTableMs: 0 });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo; // a TCP server that listens has a port
  const endpoint = `http://127.0.0.1:${port}`;
  const client = connectTo(endpoint);
  const tableName = 'batches';
  await createTable(client, tableName);
  return {
    client,
    tableName,
    endpoint,
    async close() {
      client.destroy();
      server.closeAllConnections();
      await new Promise<void>((resolve, reject) => server.close((error) => (error ? reject(error) : resolve())));
    },
  };
}

/** A client of its own, for a test that meddles with one. */
export function connectTo(endpoint: string): DynamoDBDocumentClient {
  return createDocumentClient({
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
}

async function createTable(client: DynamoDBDocumentClient, tableName: string): Promise<void> {
  const { partitionKey, sortKey, dueIndex, listIndex } = TABLE;
  const keys = (partition: string, sort: string) => [
    { AttributeName: partition, KeyType: 'HASH' as const },
    { AttributeName: sort, KeyType: 'RANGE' as const },
  ];
  const strings = [partitionKey, sortKey, dueIndex.partitionKey, listIndex.partitionKey, listIndex.sortKey];
  await client.send(
    new CreateTableCommand({
      TableName: tableName,
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [
        ...strings.map((name) => ({ AttributeName: name, AttributeType: 'S' as const })),
        { AttributeName: dueIndex.sortKey, AttributeType: 'N' },
      ],
      KeySchema: keys(partitionKey, sortKey),
      GlobalSecondaryIndexes: [
        {
          IndexName: dueIndex.name,
          KeySchema: keys(dueIndex.partitionKey, dueIndex.sortKey),
          Projection: { ProjectionType: 'KEYS_ONLY' },
        },
        {
          IndexName: listIndex.name,
          KeySchema: keys(listIndex.partitionKey, listIndex.sortKey),
          Projection: { ProjectionType: 'INCLUDE', NonKeyAttributes: [...listIndex.include] },
        },
      ],
    }),
  );
  for (;;) {
    const { Table } = await client.send(new DescribeTableCommand({ TableName: tableName }));
    if (Table?.TableStatus === 'ACTIVE') return;
  }
}
