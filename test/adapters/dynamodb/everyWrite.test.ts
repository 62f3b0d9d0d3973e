import { DynamoDBServiceException } from '@aws-sdk/client-dynamodb';
import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { ulid } from 'ulid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDocumentClient } from '../../../shared/adapters/dynamodb/client.ts';
import type { Circuit } from '../../../shared/domain/retry/circuit.ts';
import { tablePorts } from '../../../shared/lambda/deps/tables.ts';
import { startDynalite, type TestTable } from '../../support/dynalite.ts';
import { loseAnswers } from '../../support/lostAnswers.ts';
import { aBatch, aCommit, aPlan, aRange } from '../../support/records.ts';

const NOW = Date.parse('2026-01-15T11:00:00.000Z');
/** As the product sets it: the last try of so many must be the one that counts. */
const ATTEMPTS = 6;

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

type Stores = ReturnType<typeof tablePorts>;
/** What names a write, and what is not one. */
type Reads = 'get' | 'getDetail' | 'getDetails' | 'list' | 'listDue' | 'listMissingDue' | 'find' | 'findByHash';
type Writes<P extends keyof Stores> = Exclude<keyof Stores[P] & string, Reads>;

/**
 * A write, what it answers, and what stands after it. Each run has records of its own; `prepare` makes them with a client
 * that works.
 */
type Row<T> = {
  prepare?: (stores: Stores, run: string) => Promise<T>;
  write(stores: Stores, run: string, prepared: T): Promise<unknown>;
  answers: unknown;
  leaves(stores: Stores, run: string, prepared: T): Promise<unknown>;
};
const row = <T = undefined>(of: Row<T>) => of as Row<unknown>;

const ref = (run: string) => ({ projectId: `project-${run}`, batchId: `batch_${run}` });
const created = async ({ batches }: Stores, run: string) => {
  await batches.create(aBatch(ref(run)));
};
const claimed = async ({ shards }: Stores, run: string) => {
  const record = await shards.claim(ref(run).batchId, aRange());
  if (record === 'sealed') throw new Error('The shard is sealed');
  return record;
};
const headOf = ({ batches }: Stores, run: string) => batches.get(ref(run));
const detailOf = ({ batches }: Stores, run: string) => batches.getDetail(ref(run).batchId);
const shardOf = ({ shards }: Stores, run: string) => shards.get(ref(run).batchId, 0);
const ERROR = { code: 'model_error', line: 1, message: 'No.', param: null };
const RECEIPT = { lines: 1, completed: 0, failed: 1, input: null, output: null, errors: null };
const USAGE = { inputTokens: 3, outputTokens: 2 };
const upload = (run: string) => ({
  ...{ projectId: ref(run).projectId, fileId: `file_${run}`, key: `uploads/${run}`, bytes: 5 },
  ...{ createdAt: NOW, expiresAt: NOW + 1_000 },
});
const apiKey = (run: string) => ({
  ...{ keyId: `key_${run}`, hash: run.padEnd(64, '0'), prefix: 'plai_', projectId: ref(run).projectId },
  ...{ role: 'admin' as const, name: 'k', createdAt: NOW },
});
const secret = (n: number) => ({ secret: `whsec_${n}`, createdAt: NOW + n });
const opened = async ({ circuits }: Stores, run: string) => {
  const circuit = await circuits.open(run, undefined, NOW);
  if (circuit.state !== 'open') throw new Error('The circuit is closed');
  return circuit;
};
type Open = Extract<Circuit, { state: 'open' }>;

/** A write that is added to a port has a row here, or this does not compile; but for those that may count twice. */
const ROWS: { [P in Exclude<keyof Stores, 'callShares' | 'quotas'>]: { [M in Writes<P>]: Row<unknown> } } = {
  batches: {
    create: row({
      write: ({ batches }, run) => batches.create(aBatch(ref(run))),
      answers: 'created',
      leaves: async (stores, run) => [(await headOf(stores, run))?.status, (await detailOf(stores, run))?.errors],
    }),
    move: row({
      prepare: created,
      write: async ({ batches }, run) =>
        (await batches.move(ref(run), 'in_progress', { now: NOW, attempt: 1, change: { plan: aPlan() } })).result,
      answers: expect.stringMatching(/^(moved|already)$/),
      leaves: async (stores, run) => {
        const head = await headOf(stores, run);
        return [head?.status, head?.version, head?.plan];
      },
    }),
    fixOutcome: row({
      prepare: created,
      write: ({ batches }, run) => batches.fixOutcome(ref(run), { kind: 'failed', reason: 'r', fixedAt: NOW }),
      answers: { kind: 'failed', reason: 'r', fixedAt: NOW },
      leaves: async (stores, run) => (await headOf(stores, run))?.version,
    }),
    takeGathering: row({
      prepare: created,
      write: async ({ batches }, run) => {
        const number = await batches.takeGathering(ref(run), 1);
        // Numbers may be passed over; the one that was answered is the newest.
        return number === (await batches.get(ref(run)))?.gathering;
      },
      answers: true,
      leaves: async (stores, run) => (await headOf(stores, run))?.status,
    }),
    setInput: row({
      prepare: created,
      write: ({ batches }, run) => batches.setInput(ref(run), 1, { key: 'k', bytes: 1, etag: 'e' }),
      answers: 'set',
      leaves: async (stores, run) => (await headOf(stores, run))?.input,
    }),
    setPlan: row({
      prepare: created,
      write: ({ batches }, run) => batches.setPlan(ref(run), 1, aPlan()),
      answers: 'set',
      leaves: async (stores, run) => (await headOf(stores, run))?.plan,
    }),
    // Live counts may drift, upwards, until Plan or Finalize sets them.
    addCounts: row({
      prepare: created,
      write: ({ batches }, run) => batches.addCounts(ref(run), { completed: 1, failed: 0, usage: USAGE }, NOW),
      answers: undefined,
      leaves: async (stores, run) => ((await headOf(stores, run))?.requestCounts.completed ?? 0) > 0,
    }),
    setCounts: row({
      prepare: created,
      write: ({ batches }, run) => batches.setCounts(ref(run), { total: 3, completed: 2, failed: 1 }, USAGE, NOW),
      answers: undefined,
      leaves: async (stores, run) => (await headOf(stores, run))?.requestCounts,
    }),
    setErrors: row({
      prepare: created,
      write: ({ batches }, run) => batches.setErrors(ref(run).batchId, [ERROR]),
      answers: 'set',
      leaves: async (stores, run) => (await detailOf(stores, run))?.errors,
    }),
    addErrors: row({
      prepare: created,
      write: ({ batches }, run) => batches.addErrors(ref(run).batchId, [ERROR]),
      answers: 'room_left',
      leaves: async (stores, run) => (await detailOf(stores, run))?.errors,
    }),
    setReceipt: row({
      prepare: created,
      write: ({ batches }, run) => batches.setReceipt(ref(run).batchId, 1, { receipt: RECEIPT, errors: [ERROR] }),
      answers: 'set',
      leaves: async (stores, run) => [
        (await detailOf(stores, run))?.receipt,
        (await detailOf(stores, run))?.errors.length,
      ],
    }),
    takeAttempt: row({
      prepare: created,
      write: ({ batches }, run) => batches.takeAttempt(ref(run), 1, { idleAttempts: 1, committedAtAttempt: 0 }),
      answers: 'taken',
      leaves: async (stores, run) => (await headOf(stores, run))?.attempt,
    }),
    takeNotification: row({
      prepare: created,
      write: ({ batches }, run) => batches.takeNotification(ref(run), 0),
      answers: 'taken',
      leaves: async (stores, run) => (await headOf(stores, run))?.notification,
    }),
    setDelivery: row({
      prepare: created,
      write: ({ batches }, run) => batches.setDelivery(ref(run), { attempts: 1, lastStatus: 500 }, undefined, NOW),
      answers: undefined,
      leaves: async (stores, run) => (await headOf(stores, run))?.delivery,
    }),
    setDue: row({
      prepare: created,
      write: ({ batches }, run) => batches.setDue(ref(run), 7),
      answers: undefined,
      leaves: async ({ batches }, run) =>
        (await batches.listDue(7, 1_000)).filter(({ batchId }) => batchId === ref(run).batchId),
    }),
    restoreDue: row({
      prepare: async (stores, run) => {
        await created(stores, run);
        await stores.batches.setDue(ref(run), undefined);
      },
      write: ({ batches }, run) => batches.restoreDue(ref(run), 5),
      // Whoever put it there, it is there; the sweep logs it once or not at all.
      answers: expect.stringMatching(/^(restored|there)$/),
      leaves: async ({ batches }, run) =>
        (await batches.listDue(5, 1_000)).filter(({ batchId }) => batchId === ref(run).batchId),
    }),
  },
  controls: {
    stop: row({
      prepare: created,
      write: ({ controls }, run) => controls.stop(ref(run).batchId, 'expired'),
      answers: undefined,
      leaves: ({ controls }, run) => controls.get(ref(run).batchId),
    }),
  },
  shards: {
    claim: row({
      write: ({ shards }, run) => shards.claim(ref(run).batchId, aRange()),
      answers: expect.objectContaining({ epoch: 1, deaths: 1 }),
      leaves: async (stores, run) => (await shardOf(stores, run))?.epoch,
    }),
    commit: row({
      prepare: claimed,
      write: ({ shards }, run, record) => shards.commit(ref(run).batchId, aCommit(record)),
      answers: 'committed',
      leaves: async (stores, run) => {
        const record = await shardOf(stores, run);
        return [record?.commits, record?.completed, record?.segments.length, record?.usage];
      },
    }),
    release: row({
      prepare: claimed,
      write: ({ shards }, run) => shards.release(ref(run).batchId, 0, 1, { attempts: { 3: 2 }, idle: true }),
      answers: undefined,
      leaves: async (stores, run) => {
        const record = await shardOf(stores, run);
        return [record?.deaths, record?.idleTurns, record?.attempts];
      },
    }),
    seal: row({
      write: ({ shards }, run) => shards.seal(ref(run).batchId, aRange()),
      answers: expect.objectContaining({ sealed: true, epoch: 0 }),
      leaves: async (stores, run) => (await shardOf(stores, run))?.sealed,
    }),
  },
  apiKeys: {
    put: row({
      write: ({ apiKeys }, run) => apiKeys.put(apiKey(run)),
      answers: undefined,
      leaves: ({ apiKeys }, run) => apiKeys.get(apiKey(run).keyId),
    }),
    revoke: row({
      prepare: ({ apiKeys }, run) => apiKeys.put(apiKey(run)),
      write: ({ apiKeys }, run) => apiKeys.revoke(apiKey(run).keyId, NOW),
      answers: 'revoked',
      leaves: async ({ apiKeys }, run) => (await apiKeys.get(apiKey(run).keyId))?.revokedAt,
    }),
  },
  webhookSecrets: {
    getOrCreate: row({
      write: ({ webhookSecrets }, run) => webhookSecrets.getOrCreate(ref(run).projectId, secret(1)),
      answers: secret(1),
      leaves: ({ webhookSecrets }, run) => webhookSecrets.get(ref(run).projectId),
    }),
    rotate: row({
      prepare: ({ webhookSecrets }, run) => webhookSecrets.getOrCreate(ref(run).projectId, secret(1)),
      write: async ({ webhookSecrets }, run) =>
        (await webhookSecrets.rotate(ref(run).projectId, secret(1), secret(2))).secret,
      answers: 'whsec_2',
      leaves: async ({ webhookSecrets }, run) => (await webhookSecrets.get(ref(run).projectId))?.secret,
    }),
  },
  idempotency: {
    begin: row({
      write: ({ idempotency }, run) =>
        idempotency.begin(ref(run).projectId, 'k', { batchId: run, bodyHash: 'h', expiresAt: NOW + 1 }, NOW),
      answers: expect.objectContaining({ bodyHash: 'h' }),
      leaves: async ({ idempotency }, run) => (await idempotency.find(ref(run).projectId, 'k', NOW))?.bodyHash,
    }),
  },
  openBatches: {
    take: row({
      write: ({ openBatches }, run) => openBatches.take(ref(run), 1, NOW),
      answers: 'taken',
      leaves: ({ openBatches }, run) => openBatches.take({ ...ref(run), batchId: 'batch_other' }, 1, NOW),
    }),
    give: row({
      prepare: ({ openBatches }, run) => openBatches.take(ref(run), 1, NOW),
      write: ({ openBatches }, run) => openBatches.give(ref(run)),
      answers: undefined,
      leaves: ({ openBatches }, run) => openBatches.take({ ...ref(run), batchId: 'batch_other' }, 1, NOW),
    }),
  },
  uploads: {
    put: row({
      write: ({ uploads }, run) => uploads.put(upload(run)),
      answers: undefined,
      leaves: async ({ uploads }, run) => (await uploads.get(ref(run).projectId, `file_${run}`, NOW))?.bytes,
    }),
  },
  snapshots: {
    take: row({
      write: ({ snapshots }, run) => snapshots.take(ref(run).batchId, 0, NOW),
      answers: 'taken',
      leaves: ({ snapshots }, run) => snapshots.get(ref(run).batchId),
    }),
    setReady: row({
      prepare: async ({ snapshots }, run) => void (await snapshots.take(ref(run).batchId, 0, NOW)),
      write: ({ snapshots }, run) =>
        snapshots.setReady(ref(run).batchId, { snapshot: 1, asOf: NOW, readyAt: NOW }, [0]),
      answers: undefined,
      leaves: ({ snapshots }, run) => snapshots.get(ref(run).batchId),
    }),
  },
  circuits: {
    open: row({
      write: async ({ circuits }, run) => (await circuits.open(run, undefined, NOW)).state,
      answers: 'open',
      leaves: ({ circuits }, run) => circuits.get(run),
    }),
    takeProbe: row<Open>({
      prepare: opened,
      write: ({ circuits }, run, seen) => circuits.takeProbe(run, seen, { prober: 'me', until: NOW + 9 }, NOW),
      answers: true,
      leaves: ({ circuits }, run) => circuits.get(run),
    }),
    dropProbe: row<Open>({
      prepare: async (stores, run) => {
        const seen = await opened(stores, run);
        await stores.circuits.takeProbe(run, seen, { prober: 'me', until: NOW + 9 }, NOW);
        return seen;
      },
      write: ({ circuits }, run, seen) => circuits.dropProbe(run, seen, 'me'),
      answers: undefined,
      leaves: ({ circuits }, run) => circuits.get(run),
    }),
    close: row<Open>({
      prepare: opened,
      write: ({ circuits }, run, seen) => circuits.close(run, seen, NOW),
      answers: undefined,
      leaves: ({ circuits }, run) => circuits.get(run),
    }),
  },
};

/** The product's client, which tries as often, but at once: the pauses are the SDK's own. */
function impatientClient(): DynamoDBDocumentClient {
  const token = (count: number) => ({ getRetryCount: () => count, getRetryDelay: () => 0 });
  return createDocumentClient({
    endpoint: table.endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    retryStrategy: {
      acquireInitialRetryToken: async () => token(0),
      refreshRetryTokenForRetry: async (standing, { errorType, error }) => {
        const count = standing.getRetryCount() + 1;
        // A failed condition is an answer.
        if (errorType === 'CLIENT_ERROR' || errorType === 'SERVER_ERROR' || count >= ATTEMPTS) throw error;
        return token(count);
      },
      recordSuccess: () => undefined,
    },
  });
}

/** Refuses the next writes, which do nothing, as DynamoDB does when a partition is hot. */
function throttle(client: DynamoDBDocumentClient, count: number): () => number {
  let throttled = 0;
  client.middlewareStack.add(
    (next, context) => async (args) => {
      if (throttled >= count || !/^(Put|Update)Item/.test(String(context.commandName))) return next(args);
      throttled++;
      throw new DynamoDBServiceException({
        name: 'ProvisionedThroughputExceededException',
        message: 'The level of configured provisioned throughput for the table was exceeded.',
        $fault: 'client',
        $metadata: { httpStatusCode: 400 },
      });
    },
    { step: 'deserialize', name: 'throttle', priority: 'high' },
  );
  return () => throttled;
}

/** Each breaks a client, and says how often it was met. */
const FAULTS: Record<string, (client: DynamoDBDocumentClient) => () => number> = {
  'has lost its answer, and is sent again': (client) => {
    const lost = [loseAnswers(client, 'PutItem', 1), loseAnswers(client, 'UpdateItem', 1)];
    return () => lost.reduce((sum, count) => sum + count(), 0);
  },
  'has lost its answer twice in a row': (client) => {
    const lost = [loseAnswers(client, 'PutItem', 2), loseAnswers(client, 'UpdateItem', 2)];
    return () => lost.reduce((sum, count) => sum + count(), 0);
  },
  'was throttled until the last try but one': (client) => throttle(client, ATTEMPTS - 1),
};

const writes = Object.entries(ROWS).flatMap(([port, methods]) =>
  Object.entries(methods as Record<string, Row<unknown>>).map(([method, of]) => ({ name: `${port}.${method}`, of })),
);

describe.each(writes)('$name', ({ of }) => {
  /** What the write answers and leaves with a client that works. */
  async function undisturbed(stores: Stores, run: string) {
    const prepared = await of.prepare?.(stores, run);
    const answer = await of.write(stores, run, prepared);
    return { answer, left: await of.leaves(stores, run, prepared) };
  }
  const withoutIds = (value: unknown, run: string) => JSON.stringify(value)?.replaceAll(run, '…');

  test.each(Object.keys(FAULTS))('that %s means the same', async (fault) => {
    const whole = tablePorts(table.tableName, table.client);
    const [run, other] = [ulid(), ulid()];
    const expected = await undisturbed(whole, other);
    expect(expected.answer).toEqual(of.answers);
    const client = impatientClient();
    try {
      const prepared = await of.prepare?.(whole, run);
      const met = FAULTS[fault]?.(client);
      expect(await of.write(tablePorts(table.tableName, client), run, prepared)).toEqual(of.answers);
      expect(met?.()).toBeGreaterThan(0);
      const left = await of.leaves(whole, run, prepared);
      expect(withoutIds(left, run)).toBe(withoutIds(expected.left, other));
    } finally {
      client.destroy();
    }
  });
});
