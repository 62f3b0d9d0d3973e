import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { DynamoDBClient, ListTablesCommand } from '@aws-sdk/client-dynamodb';
import type { TablePlan } from '../template/plan.ts';
import { ensureTable, repairIndexes } from './tables.ts';

export type DynamoDb = { url: string; close(): Promise<void> };

const CLOSE_TIMEOUT_MS = 3_000;

/** dynalite on disk, with the template's tables made and their indexes in order. */
export async function startDynamoDb(options: {
  dataDir: string;
  region: string;
  credentials: { accessKeyId: string; secretAccessKey: string };
  tables: readonly TablePlan[];
}): Promise<DynamoDb> {
  const dir = join(options.dataDir, 'dynamodb');
  const path = join(dir, 'level');
  // There while the store is open: found at start, it says that the last run did not end in order.
  const openMark = join(dir, 'open');
  // There while the first tables are made. dynalite takes two writes to make one; a kill between them leaves a table that
  // can be neither used nor deleted, in a store that holds nothing yet.
  const makingMark = join(dir, 'making');
  if (existsSync(makingMark)) rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  const killed = existsSync(openMark);
  writeFileSync(openMark, '');

  const worker = new Worker(new URL('./dynaliteThread.ts', import.meta.url), { workerData: { path }, execArgv: [] });
  const [started] = (await Promise.race([
    once(worker, 'message'),
    once(worker, 'error').then(([error]) => Promise.reject(error)),
  ])) as [{ port: number }];
  const url = `http://127.0.0.1:${started.port}`;
  worker.on('error', (error) => console.error('dynalite ended:', error));

  const client = new DynamoDBClient({ endpoint: url, region: options.region, credentials: options.credentials });
  const { TableNames = [] } = await client.send(new ListTablesCommand({}));
  if (TableNames.length === 0) writeFileSync(makingMark, '');
  for (const table of options.tables) {
    await ensureTable(client, table);
    if (killed) await repairIndexes(client, table);
  }
  rmSync(makingMark, { force: true });
  client.destroy();
  return {
    url,
    async close() {
      const closed = once(worker, 'message');
      worker.postMessage('close');
      const ended = await Promise.race([closed, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })]);
      await worker.terminate();
      if (ended) rmSync(openMark, { force: true });
    },
  };
}
