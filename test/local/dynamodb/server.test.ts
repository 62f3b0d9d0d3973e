import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DynamoDBClient, GetItemCommand, PutItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type DynamoDb, startDynamoDb } from '../../../local/dynamodb/server.ts';
import type { TablePlan } from '../../../local/template/plan.ts';

const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
const table: TablePlan = {
  name: 'records',
  keySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }],
  attributeDefinitions: [
    { AttributeName: 'pk', AttributeType: 'S' },
    { AttributeName: 'duePk', AttributeType: 'S' },
  ],
  globalIndexes: [
    {
      IndexName: 'due',
      KeySchema: [{ AttributeName: 'duePk', KeyType: 'HASH' }],
      Projection: { ProjectionType: 'KEYS_ONLY' },
    },
  ],
  localIndexes: [],
};

let dataDir: string;
let dynamodb: DynamoDb | undefined;
let client: DynamoDBClient;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'dynamodb-'));
});
afterEach(async () => {
  client?.destroy();
  await dynamodb?.close();
  dynamodb = undefined;
  rmSync(dataDir, { recursive: true, force: true });
});

async function start(plan = table): Promise<DynamoDBClient> {
  dynamodb = await startDynamoDb({ dataDir, region: 'us-east-1', credentials, tables: [plan] });
  client = new DynamoDBClient({ endpoint: dynamodb.url, region: 'us-east-1', credentials });
  return client;
}
const put = (pk: string, duePk?: string) =>
  client.send(
    new PutItemCommand({ TableName: 'records', Item: { pk: { S: pk }, ...(duePk ? { duePk: { S: duePk } } : {}) } }),
  );
const due = async () =>
  (await client.send(new ScanCommand({ TableName: 'records', IndexName: 'due' }))).Items?.map((item) => item.pk?.S);

it('keeps its tables over a restart', async () => {
  await start();
  await put('a', 'open');
  client.destroy();
  await dynamodb?.close();
  await start();
  const { Item } = await client.send(new GetItemCommand({ TableName: 'records', Key: { pk: { S: 'a' } } }));
  expect(Item?.duePk?.S).toBe('open');
  expect(await due()).toEqual(['a']);
});

it('refuses data whose table has another shape', async () => {
  await start();
  await dynamodb?.close();
  dynamodb = undefined;
  await expect(start({ ...table, globalIndexes: [] })).rejects.toThrow(/another shape.*--reset/s);
});

it('outlives a client that goes away in the middle of a request, and lets no web page in', async () => {
  await start();
  const { port } = new URL(dynamodb?.url ?? '');
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), '127.0.0.1', () =>
      socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf', () => socket.destroy()),
    );
    socket.on('close', () => resolve());
  });
  await put('a');
  expect((await fetch(dynamodb?.url ?? '', { method: 'POST', headers: { origin: 'http://evil' } })).status).toBe(403);
});

/** dynalite's own store, opened behind its back. */
type Store = {
  iterator(): AsyncIterable<[string, unknown]>;
  put(key: string, value: unknown): Promise<void>;
  del(key: string): Promise<void>;
  close(): Promise<void>;
};
function openStore(): Store {
  const { Level } = createRequire(createRequire(import.meta.url).resolve('dynalite'))('level') as {
    Level: new (path: string, options: { valueEncoding: 'json' }) => Store;
  };
  return new Level(join(dataDir, 'dynamodb', 'level'), { valueEncoding: 'json' });
}

it('puts the indexes right after a run that was killed between writing an item and its entry', async () => {
  await start();
  await put('untouched', 'open');
  await put('lacks its entry', 'open');
  await put('item is gone', 'open');
  await dynamodb?.close();
  const store = openStore();
  for await (const [key, value] of store.iterator()) {
    const { pk } = value as { pk?: { S: string } };
    if (pk?.S === 'lacks its entry' && key.startsWith('index-')) await store.del(key);
    if (pk?.S === 'item is gone' && key.startsWith('item-')) await store.del(key);
  }
  await store.close();

  await start();
  expect((await due())?.sort()).toEqual(['item is gone', 'untouched']);
  client.destroy();
  await dynamodb?.close();
  writeFileSync(join(dataDir, 'dynamodb', 'open'), '');
  await start();
  expect((await due())?.sort()).toEqual(['lacks its entry', 'untouched']);
});

it('makes its tables anew after a run that was killed while it made the first', async () => {
  await start();
  client.destroy();
  await dynamodb?.close();
  // As the first of dynalite's two writes leaves it.
  const store = openStore();
  for await (const [key, value] of store.iterator()) {
    if (key.startsWith('table')) await store.put(key, { ...(value as object), TableStatus: 'CREATING' });
  }
  await store.close();
  writeFileSync(join(dataDir, 'dynamodb', 'open'), '');
  writeFileSync(join(dataDir, 'dynamodb', 'making'), '');

  await start();
  await put('a', 'open');
  expect(await due()).toEqual(['a']);
});
