import { afterAll, beforeAll, describe } from 'vitest';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createControlStore } from '../../shared/adapters/dynamodb/controlStore.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { batchListSuite } from './suites/batchList.ts';
import { batchStoreSuite } from './suites/batchStore.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

describe('batches on DynamoDB', () => {
  batchStoreSuite(() => ({ batches: createBatchStore(table), controls: createControlStore(table) }));
  describe('list', () => batchListSuite(() => createBatchStore(table)));
});
