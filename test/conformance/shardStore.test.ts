import { afterAll, beforeAll, describe } from 'vitest';
import { createShardStore } from '../../shared/adapters/dynamodb/shardStore.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { shardStoreSuite } from './suites/shardStore.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

describe('shards on DynamoDB', () => shardStoreSuite(() => createShardStore(table)));
