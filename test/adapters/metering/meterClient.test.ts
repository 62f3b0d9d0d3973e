import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { BatchGetCommand, GetCommand, PutCommand, QueryCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMeter } from '../../../shared/adapters/metering/meter.ts';
import { meterClient } from '../../../shared/adapters/metering/meterClient.ts';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { TABLE } from '../../../shared/contract/table.ts';
import { startDynalite, type TestTable } from '../../support/dynalite.ts';
import { LOCAL_S3, type LocalS3, startLocalS3 } from '../../support/localS3.ts';

const meter = createMeter();

describe('calls of DynamoDB', () => {
  let table: TestTable;
  beforeAll(async () => {
    table = await startDynalite();
    meterClient(table.client, 'dynamodb', meter);
  });
  afterAll(() => table?.close());

  const key = (name: string) => ({ [TABLE.partitionKey]: name, [TABLE.sortKey]: 'A' });

  test('are counted in the units that they consume', async () => {
    const { client, tableName: TableName } = table;
    await client.send(new PutCommand({ TableName, Item: { ...key('small'), text: 'x'.repeat(100) } }));
    await client.send(new PutCommand({ TableName, Item: { ...key('large'), text: 'x'.repeat(5_000) } }));
    expect(meter.take().dynamodb).toEqual({ read_units: 0, write_units: 1 + 5, refused_writes: 0, requests: 2 });

    await client.send(new GetCommand({ TableName, Key: key('large'), ConsistentRead: true }));
    await client.send(new GetCommand({ TableName, Key: key('large') }));
    expect(meter.take().dynamodb).toEqual({ read_units: 2 + 1, write_units: 0, refused_writes: 0, requests: 2 });

    await client.send(
      new BatchGetCommand({
        RequestItems: { [TableName]: { Keys: [key('small'), key('large')], ConsistentRead: true } },
      }),
    );
    const found = await client.send(
      new QueryCommand({
        TableName,
        ConsistentRead: true,
        KeyConditionExpression: '#pk = :pk',
        ExpressionAttributeNames: { '#pk': TABLE.partitionKey },
        ExpressionAttributeValues: { ':pk': 'large' },
      }),
    );
    expect(found.Items).toHaveLength(1);
    expect(meter.take().dynamodb).toEqual({ read_units: 3 + 2, write_units: 0, refused_writes: 0, requests: 2 });
  });

  test('that are refused by their condition are charged as writes', async () => {
    const { client, tableName: TableName } = table;
    const refused = client.send(
      new UpdateCommand({
        TableName,
        Key: key('small'),
        UpdateExpression: 'SET #text = :text',
        ConditionExpression: 'attribute_not_exists(#text)',
        ExpressionAttributeNames: { '#text': 'text' },
        ExpressionAttributeValues: { ':text': 'y' },
      }),
    );
    await expect(refused).rejects.toMatchObject({ name: 'ConditionalCheckFailedException' });
    expect(meter.take().dynamodb).toEqual({ read_units: 0, write_units: 1, refused_writes: 1, requests: 1 });
  });
});

describe('calls of S3', () => {
  let s3: LocalS3;
  beforeAll(async () => {
    s3 = await startLocalS3();
    meterClient(s3.client, 's3', meter);
  });
  afterAll(() => s3?.close());

  test('are counted by their class of price', async () => {
    const { client, bucket: Bucket } = s3;
    const object = { Bucket, Key: 'a' };
    await client.send(new PutObjectCommand({ ...object, Body: 'a' }));
    await client.send(new ListObjectsV2Command({ Bucket }));
    await client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'b' }));
    await (await client.send(new GetObjectCommand(object))).Body?.transformToString();
    await client.send(new HeadObjectCommand(object));
    await client.send(new DeleteObjectCommand(object));
    expect(meter.take().s3).toEqual({ puts: 3, gets: 2, free: 1 });
  });

  test('are counted where they fail, each try', async () => {
    const server = createServer((_, response) => response.writeHead(500).end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const { region, credentials, bucket: Bucket } = LOCAL_S3;
    const client = createS3Client({ region, credentials, endpoint: `http://127.0.0.1:${port}`, maxAttempts: 3 });
    meterClient(client, 's3', meter);
    await expect(client.send(new HeadObjectCommand({ Bucket, Key: 'a' }))).rejects.toThrow();
    expect(meter.take().s3).toEqual({ puts: 0, gets: 3, free: 0 });
    client.destroy();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});

test('nothing is left of what was taken', () => {
  expect(meter.take()).toEqual(createMeter().take());
});
