import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AttributeValue,
  CreateTableCommand,
  DeleteItemCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  ResourceNotFoundException,
  ScanCommand,
} from '@aws-sdk/client-dynamodb';
import type { IndexPlan, TableKey, TablePlan } from '../template/plan.ts';

type Item = Record<string, AttributeValue>;

/** Makes the table if it is not there; a table of another shape is an error, since its data would not fit. */
export async function ensureTable(client: DynamoDBClient, table: TablePlan): Promise<void> {
  const existing = await describe(client, table.name);
  if (existing) {
    const wanted = shapeOf(table.keySchema, [...table.globalIndexes, ...table.localIndexes]);
    if (existing.shape !== wanted) {
      throw new Error(
        `The data folder holds a table ${table.name} of another shape (${existing.shape}, now ${wanted}): it was made by another version. Start with --reset, or with another --data folder.`,
      );
    }
    return;
  }
  await client.send(
    new CreateTableCommand({
      TableName: table.name,
      BillingMode: 'PAY_PER_REQUEST',
      KeySchema: table.keySchema,
      AttributeDefinitions: table.attributeDefinitions,
      ...(table.globalIndexes.length > 0 ? { GlobalSecondaryIndexes: table.globalIndexes } : {}),
      ...(table.localIndexes.length > 0 ? { LocalSecondaryIndexes: table.localIndexes } : {}),
    }),
  );
  while ((await describe(client, table.name))?.status !== 'ACTIVE') await sleep(5);
}

async function describe(client: DynamoDBClient, name: string) {
  try {
    const { Table } = await client.send(new DescribeTableCommand({ TableName: name }));
    const indexes = [...(Table?.GlobalSecondaryIndexes ?? []), ...(Table?.LocalSecondaryIndexes ?? [])];
    return { status: Table?.TableStatus, shape: shapeOf(Table?.KeySchema ?? [], indexes) };
  } catch (error) {
    if (error instanceof ResourceNotFoundException) return undefined;
    throw error;
  }
}

type AnyKey = { AttributeName?: string | undefined };
type AnyIndex = { IndexName?: string | undefined; KeySchema?: AnyKey[] | undefined };

function shapeOf(keySchema: AnyKey[], indexes: AnyIndex[]): string {
  const keys = (schema: AnyKey[] = []) => schema.map((key) => key.AttributeName).join('+');
  const parts = indexes.map((index) => `${index.IndexName}: ${keys(index.KeySchema)}`).sort();
  return [keys(keySchema), ...parts].join(', ');
}

/**
 * Puts a table's indexes right after a run that did not end in order: dynalite writes item and index entries one after
 * the other, so a kill can leave an entry missing or stale. Items that carry an index's keys are written again, which
 * makes the entries that lack; entries that no longer stand for their item are taken away.
 */
export async function repairIndexes(client: DynamoDBClient, table: TablePlan): Promise<void> {
  for (const index of [...table.globalIndexes, ...table.localIndexes]) {
    for await (const entry of scan(client, table.name, { index })) await dropIfStale(client, table, index, entry);
    for await (const item of scan(client, table.name, { having: index.KeySchema })) {
      await client.send(new PutItemCommand({ TableName: table.name, Item: item }));
    }
  }
}

async function* scan(
  client: DynamoDBClient,
  tableName: string,
  { index, having = [] }: { index?: IndexPlan; having?: TableKey[] },
): AsyncGenerator<Item> {
  let start: Item | undefined;
  do {
    const page = await client.send(
      new ScanCommand({
        TableName: tableName,
        ...(index ? { IndexName: index.IndexName } : {}),
        ...(having.length > 0
          ? {
              FilterExpression: having.map((_, at) => `attribute_exists(#k${at})`).join(' AND '),
              ExpressionAttributeNames: Object.fromEntries(having.map((key, at) => [`#k${at}`, key.AttributeName])),
            }
          : {}),
        ...(start ? { ExclusiveStartKey: start } : {}),
      }),
    );
    yield* page.Items ?? [];
    start = page.LastEvaluatedKey;
  } while (start);
}

function pick(item: Item, keys: TableKey[]): Item {
  return Object.fromEntries(
    keys.flatMap(({ AttributeName }) => {
      const value = item[AttributeName];
      return value ? [[AttributeName, value]] : [];
    }),
  );
}

async function dropIfStale(client: DynamoDBClient, table: TablePlan, index: IndexPlan, entry: Item): Promise<void> {
  const TableName = table.name;
  const Key = pick(entry, table.keySchema);
  const { Item: item } = await client.send(new GetItemCommand({ TableName, Key, ConsistentRead: true }));
  const entryKeys = pick(entry, index.KeySchema);
  if (item && JSON.stringify(pick(item, index.KeySchema)) === JSON.stringify(entryKeys)) return;
  // The entry goes when an item that has its keys is replaced by one that has not.
  await client.send(new PutItemCommand({ TableName, Item: { ...(item ?? Key), ...entryKeys } }));
  if (item) await client.send(new PutItemCommand({ TableName, Item: item }));
  else await client.send(new DeleteItemCommand({ TableName, Key }));
}
