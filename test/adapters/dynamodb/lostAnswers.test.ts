import { ulid } from 'ulid';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createApiKeyStore } from '../../../shared/adapters/dynamodb/apiKeyStore.ts';
import { createBatchStore } from '../../../shared/adapters/dynamodb/batchStore.ts';
import { createCircuitStore } from '../../../shared/adapters/dynamodb/circuitStore.ts';
import { createIdempotencyStore } from '../../../shared/adapters/dynamodb/idempotencyStore.ts';
import { createShardStore } from '../../../shared/adapters/dynamodb/shardStore.ts';
import { createWebhookSecretStore } from '../../../shared/adapters/dynamodb/webhookSecretStore.ts';
import { startDynalite, type TestTable } from '../../support/dynalite.ts';
import { loseAnswers } from '../../support/lostAnswers.ts';
import { aBatch, aCommit, aPlan, aRange } from '../../support/records.ts';

const NOW = Date.parse('2026-01-15T11:00:00.000Z');

let table: TestTable;
beforeEach(async () => {
  table = await startDynalite();
});
afterEach(() => table.close());

/** Each write is done, its answer lost, and sent again by the SDK: once, or twice in a row. */
describe.each([1, 2])('with %i answers lost', (count) => {
  const lose = (operation: 'PutItem' | 'UpdateItem') => loseAnswers(table.client, operation, count);

  test('a create is a create', async () => {
    const batches = createBatchStore(table);
    const batch = aBatch();
    const lost = lose('PutItem');
    expect(await batches.create(batch)).toBe('created');
    expect(lost()).toBe(count);
    expect(await batches.get(batch.head)).toEqual(batch.head);
  });

  test('a create whose head alone was written twice is a create', async () => {
    const batches = createBatchStore(table);
    const batch = aBatch();
    // Detail and control go through, the head's answers are lost.
    let puts = 0;
    table.client.middlewareStack.add(
      (next) => async (args) => {
        const answer = await next(args);
        if (++puts >= 3 && puts < 3 + count) throw Object.assign(new Error('reset'), { name: 'TimeoutError' });
        return answer;
      },
      { step: 'deserialize', name: 'loseHead', priority: 'high' },
    );
    expect(await batches.create(batch)).toBe('created');
  });

  test('a circuit is opened, probed, lengthened and closed once', async () => {
    const circuits = createCircuitStore(table);
    const lost = lose('UpdateItem');
    const first = await circuits.open('model', undefined, NOW);
    expect(first).toMatchObject({ state: 'open', failures: 1 });
    expect(lost()).toBe(count);
    if (first.state !== 'open') throw new Error('It is not open');
    lose('UpdateItem');
    expect(await circuits.takeProbe('model', first, { prober: 'me', until: NOW + 1_000 }, NOW)).toBe(true);
    expect(await circuits.takeProbe('model', first, { prober: 'you', until: NOW + 1_000 }, NOW)).toBe(false);
    lose('UpdateItem');
    const second = await circuits.open('model', first, NOW + 500);
    expect(second).toMatchObject({ state: 'open', failures: 2 });
    if (second.state !== 'open') throw new Error('It is not open');
    lose('UpdateItem');
    await circuits.close('model', second, NOW + 900);
    expect(await circuits.get('model')).toEqual({ state: 'closed', closedAt: NOW + 900 });
  });

  test('failed lines are added once', async () => {
    const batches = createBatchStore(table);
    const { head, ...rest } = aBatch();
    await batches.create({ head, ...rest });
    const failed = { code: 'model_error', line: 1, message: 'Refused.', param: null };
    const lost = lose('UpdateItem');
    expect(await batches.addErrors(head.batchId, [failed])).toBe('room_left');
    expect(lost()).toBe(count);
    expect((await batches.getDetail(head.batchId))?.errors).toEqual([failed]);
  });

  test('a move is made once and answers already', async () => {
    const batches = createBatchStore(table);
    const { head } = aBatch();
    await batches.create(aBatch(head));
    const lost = lose('UpdateItem');
    expect(await batches.move(head, 'in_progress', { now: NOW, attempt: 1, change: { plan: aPlan() } })).toMatchObject({
      result: 'already',
      head: { status: 'in_progress', version: 1, plan: aPlan() },
    });
    expect(lost()).toBe(count);
  });

  test('an outcome is the one that stands', async () => {
    const batches = createBatchStore(table);
    const { head } = aBatch();
    await batches.create(aBatch(head));
    lose('UpdateItem');
    const outcome = { kind: 'completed', reason: 'all_done', fixedAt: NOW } as const;
    expect(await batches.fixOutcome(head, outcome)).toEqual(outcome);
  });

  test('a number is taken once, by the one whose answer was lost', async () => {
    const batches = createBatchStore(table);
    const { head } = aBatch();
    await batches.create(aBatch(head));
    lose('UpdateItem');
    expect(await batches.takeAttempt(head, 1, { idleAttempts: 1, committedAtAttempt: 0 })).toBe('taken');
    expect(await batches.get(head)).toMatchObject({ attempt: 2, idleAttempts: 1 });
    lose('UpdateItem');
    expect(await batches.takeNotification(head, 0)).toBe('taken');
    expect((await batches.get(head))?.notification).toBe(1);
  });

  test('a claim takes one epoch and counts one death', async () => {
    const shards = createShardStore(table);
    lose('UpdateItem');
    expect(await shards.claim(`batch_${ulid()}`, aRange())).toMatchObject({ epoch: 1, deaths: 1 });
  });

  test('a commit is committed, once', async () => {
    const shards = createShardStore(table);
    const batchId = `batch_${ulid()}`;
    const record = await shards.claim(batchId, aRange());
    if (record === 'sealed') throw new Error('The shard is sealed');
    lose('UpdateItem');
    expect(await shards.commit(batchId, aCommit(record))).toBe('committed');
    lose('UpdateItem');
    await shards.release(batchId, 0, record.epoch);
    lose('UpdateItem');
    expect(await shards.seal(batchId, aRange())).toMatchObject({ commits: 1, completed: 1, deaths: 0, sealed: true });
  });

  test('a release takes back one death', async () => {
    const shards = createShardStore(table);
    const batchId = `batch_${ulid()}`;
    await shards.claim(batchId, aRange());
    await shards.claim(batchId, aRange());
    await shards.claim(batchId, aRange());
    lose('UpdateItem');
    await shards.release(batchId, 0, 3);
    expect(await shards.seal(batchId, aRange())).toMatchObject({ deaths: 2 });
  });

  test('a key, a secret and an idempotency record are kept', async () => {
    lose('PutItem');
    const key = {
      keyId: `key_${ulid()}`,
      hash: 'a'.repeat(64),
      prefix: 'plai_',
      projectId: 'p',
      role: 'admin',
      name: 'k',
      createdAt: NOW,
    } as const;
    await createApiKeyStore(table).put(key);
    expect(await createApiKeyStore(table).findByHash(key.hash)).toEqual(key);
    lose('PutItem');
    const secret = { secret: 'whsec_1', createdAt: NOW };
    expect(await createWebhookSecretStore(table).getOrCreate('p', secret)).toEqual(secret);
    lose('PutItem');
    const record = { batchId: 'batch_1', bodyHash: 'h', expiresAt: NOW + 1 };
    expect(await createIdempotencyStore(table).begin('p', 'k', record, NOW)).toEqual(record);
  });
});
