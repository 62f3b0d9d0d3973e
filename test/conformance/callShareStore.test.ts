import { afterAll, beforeAll, describe } from 'vitest';
import { createCallShareStore } from '../../shared/adapters/dynamodb/callShareStore.ts';
import { memoryCallShares } from '../support/callShares.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { callShareStoreSuite } from './suites/callShareStore.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

describe('shares of a limit on DynamoDB', () => callShareStoreSuite(() => createCallShareStore(table)));
describe('shares of a limit in memory, as tests have them', () => callShareStoreSuite(() => memoryCallShares().store));
