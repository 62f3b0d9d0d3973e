import { afterAll, beforeAll, describe } from 'vitest';
import { createCallShareStore } from '../../shared/adapters/dynamodb/callShareStore.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { callShareStoreSuite } from './suites/callShareStore.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

describe('shares of a limit on DynamoDB', () => callShareStoreSuite(() => createCallShareStore(table)));
