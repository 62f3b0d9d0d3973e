import * as fc from 'fast-check';
import { ulid } from 'ulid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createShardStore } from '../../shared/adapters/dynamodb/shardStore.ts';
import type { ShardRecord } from '../../shared/domain/shard.ts';
import type { ShardStore } from '../../shared/ports.ts';
import { brokenPromises, histories, newModel, newWorld } from '../support/commitProtocol.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { aRange } from '../support/records.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

/** Lines 0 and 5 of 24 are blank. */
const range = aRange({ lines: 24, runnable: 22, skip: Buffer.from([0b0010_0001]).toString('base64') });

const protocolHolds = (storeOf: () => ShardStore) =>
  fc.asyncProperty(histories, async (history) => {
    const model = newModel();
    const world = newWorld(storeOf(), `batch_${ulid()}`, range);
    await fc.asyncModelRun(() => ({ model, real: world }), history);
    expect(await brokenPromises(model, world)).toEqual([]);
  });

test('no result is lost after its commit, no line is twice in the segments, nothing comes after the seal', async () => {
  await fc.assert(
    protocolHolds(() => createShardStore(table)),
    { numRuns: 60 },
  );
});

describe('the model catches a store', () => {
  /** The record as it stands, for stores that decide on a read what must be decided in the write. */
  const standing = async (store: ShardStore, batchId: string, shard: number): Promise<ShardRecord | undefined> => {
    for await (const record of store.list(batchId)) if (record.shard === shard) return record;
    return undefined;
  };
  const breaksWith = async (breakStore: (store: ShardStore) => ShardStore) =>
    await fc.check(
      protocolHolds(() => breakStore(createShardStore(table))),
      { numRuns: 300, seed: 20260115, endOnFailure: true },
    );

  test('that lets an overtaken worker commit', async () => {
    const outcome = await breaksWith((store) => ({
      ...store,
      async commit(batchId, commit) {
        const { epoch, commits } = (await standing(store, batchId, commit.shard)) ?? commit;
        return await store.commit(batchId, { ...commit, epoch, commits });
      },
    }));
    expect(outcome.failed).toBe(true);
  });

  test('that does not recognize a commit whose answer was lost', async () => {
    const outcome = await breaksWith((store) => ({
      ...store,
      async commit(batchId, commit) {
        const before = await standing(store, batchId, commit.shard);
        return before?.commits === commit.commits ? await store.commit(batchId, commit) : 'lost';
      },
    }));
    expect(outcome.failed).toBe(true);
  });

  test('that answers a seal without sealing', async () => {
    const outcome = await breaksWith((store) => ({
      ...store,
      async seal(batchId, sealedRange) {
        const record = await standing(store, batchId, sealedRange.shard);
        return record ? { ...record, sealed: true } : await store.seal(batchId, sealedRange);
      },
    }));
    expect(outcome.failed).toBe(true);
  });
});
