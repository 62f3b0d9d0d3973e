import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import {
  DescribeExecutionCommand,
  ListExecutionsCommand,
  type SFNClient,
  StopExecutionCommand,
} from '@aws-sdk/client-sfn';
import { type DynamoDBDocumentClient, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createDocumentClient } from '../../shared/adapters/dynamodb/client.ts';
import { keys } from '../../shared/adapters/dynamodb/keys.ts';
import { createWorkflowClient } from '../../shared/adapters/sfn/client.ts';
import type { CheckView } from '../../shared/contract/checkView.ts';
import type { BatchHead, BatchRef } from '../../shared/domain/batch.ts';
import type { BatchStore } from '../../shared/ports.ts';
import { createBatchClient } from '../support/batchClient.ts';
import { startTestRun, type TestRun } from '../support/localRun.ts';
import { startTestReceiver } from '../support/receiver.ts';
import { aBatch } from '../support/records.ts';

const LINES = ['one', 'two', 'three'].map((custom_id) =>
  JSON.stringify({ custom_id, method: 'POST', url: '/agents/any/invoke', body: { input: `Say ${custom_id}` } }),
);

let run: TestRun;
let source: Awaited<ReturnType<typeof startHeldSource>>;
let receiver: Awaited<ReturnType<typeof startTestReceiver>>;
let client: ReturnType<typeof createBatchClient>;
let table: DynamoDBDocumentClient;
let sfn: SFNClient;
let batches: BatchStore;

beforeAll(async () => {
  [source, receiver] = await Promise.all([startHeldSource(), startTestReceiver()]);
  // No schedule: every check and sweep here is one that a test has asked for.
  run = await startTestRun({ schedules: false, watchRights: true });
  client = createBatchClient(run.url, run.apiKey);
  ({ table, sfn, batches } = connect(run));
});
afterAll(async () => {
  table?.destroy();
  sfn?.destroy();
  await run?.close();
  await source?.close();
  await receiver?.close();
});

/** What an operator of an account would use: the services' own clients. */
function connect({ backstage: { environment, outputs } }: TestRun) {
  const connection = {
    region: environment.AWS_REGION ?? '',
    credentials: {
      accessKeyId: environment.AWS_ACCESS_KEY_ID ?? '',
      secretAccessKey: environment.AWS_SECRET_ACCESS_KEY ?? '',
    },
  };
  const table = createDocumentClient({ ...connection, endpoint: environment.AWS_ENDPOINT_URL_DYNAMODB ?? '' });
  const sfn = createWorkflowClient({ ...connection, endpoint: environment.AWS_ENDPOINT_URL_SFN ?? '' });
  return { table, sfn, batches: createBatchStore({ client: table, tableName: outputs.TableName ?? '' }) };
}

/** An input that comes only once it is let go, so that its batch stands still in Fetch until then. */
async function startHeldSource() {
  const asked = Promise.withResolvers<void>();
  const askedFor = new Map<string, typeof asked>();
  const letGo = new Map<string, typeof asked>();
  const of = (gates: typeof letGo, name: string) => {
    const gate = gates.get(name) ?? Promise.withResolvers<void>();
    gates.set(name, gate);
    return gate;
  };
  const server = createServer(async (request, response) => {
    const name = request.url ?? '';
    of(askedFor, name).resolve();
    await of(letGo, name).promise;
    response.end(LINES.join('\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  let sources = 0;
  return {
    next() {
      const name = `/${++sources}.jsonl`;
      return {
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${name}`,
        asked: of(askedFor, name).promise,
        letGo: () => of(letGo, name).resolve(),
      };
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

type Held = { ref: BatchRef; letGo(): void };

/** A batch whose first execution waits for its input. */
async function heldBatch(): Promise<Held> {
  const { url, asked, letGo } = source.next();
  const { id } = await client.create({ type: 'COMPLETIONS', input_file_url: url, callback_url: receiver.url });
  await asked;
  return { ref: { projectId: run.projectId, batchId: id }, letGo };
}

/** A batch that has ended, as Finalize leaves it when it dies right after the move. */
async function endedUnannounced(): Promise<BatchRef> {
  const now = Date.now();
  const { head, ...rest } = aBatch({
    projectId: run.projectId,
    callbackUrl: receiver.url,
    status: 'completed',
    createdAt: now,
    enteredAt: { validating: now, in_progress: now, finalizing: now, completed: now },
    outcome: { kind: 'completed', reason: 'all_done', fixedAt: now },
  });
  await batches.create({ head, ...rest, dueAt: now });
  return head;
}

const executionArn = (output: 'BatchMachineArn' | 'NotificationMachineArn', name: string) =>
  `${run.backstage.outputs[output]?.replace(':stateMachine:', ':execution:')}:${name}`;
const stop = (name: string) =>
  sfn.send(new StopExecutionCommand({ executionArn: executionArn('BatchMachineArn', name) }));

async function executionsOf(output: 'BatchMachineArn' | 'NotificationMachineArn', { batchId }: BatchRef) {
  const { executions = [] } = await sfn.send(
    new ListExecutionsCommand({ stateMachineArn: run.backstage.outputs[output] ?? '', maxResults: 1_000 }),
  );
  return executions.flatMap(({ name }) => (name?.startsWith(batchId) ? [name.slice(batchId.length)] : [])).sort();
}

async function check(): Promise<CheckView> {
  const { status, body } = await run.callAsOperator('GET', '/batches/check-batches');
  expect(status).toBe(200);
  return body;
}

/** Checks, as the schedule would, until one moves the batch on; answers what it says of it. */
async function checkUntilMoved({ batchId }: BatchRef): Promise<CheckView['batches'][number]> {
  for (;;) {
    const found = (await check()).batches.find(({ id }) => id === batchId);
    if (found) return found;
    await pause(100);
  }
}

async function untilDue(refs: BatchRef[]): Promise<void> {
  for (;;) {
    const due = new Set((await batches.listDue(Date.now(), 1_000)).map(({ batchId }) => batchId));
    // A batch that was written to within the last two seconds is alive, and is not asked about.
    const heads = await Promise.all(refs.map((ref) => headOf(ref)));
    if (heads.every(({ batchId, updatedAt }) => due.has(batchId) && updatedAt < Date.now() - 2_000)) return;
    await pause(50);
  }
}

async function headOf(ref: BatchRef): Promise<BatchHead> {
  const head = await batches.get(ref);
  if (!head) throw new Error(`There is no batch ${ref.batchId}`);
  return head;
}

/** The batch is whole, and its receiver was told once. */
async function expectCompleted({ batchId }: BatchRef): Promise<void> {
  expect(await client.untilEnded(batchId)).toMatchObject({
    status: 'completed',
    request_counts: { total: 3, completed: 3, failed: 0 },
  });
  const { output, errors } = await client.results(batchId);
  expect([output.map(({ custom_id }) => custom_id), errors]).toEqual([['one', 'two', 'three'], []]);
  await client.until(batchId, ({ delivered_at }) => delivered_at !== null);
  expect(notificationIds({ batchId } as BatchRef)).toEqual([`msg_${batchId}`]);
}

const notificationIds = ({ batchId }: Pick<BatchRef, 'batchId'>) =>
  receiver.received.filter(({ body }) => body.includes(batchId)).map(({ headers }) => headers['webhook-id']);

describe('the operator’s check, through HTTP', () => {
  test('goes on with a batch whose execution was stopped behind the product’s back', async () => {
    const { ref, letGo } = await heldBatch();
    await stop(`${ref.batchId}-1`);
    expect(await checkUntilMoved(ref)).toEqual({
      id: ref.batchId,
      from: 'validating',
      to: 'validating',
      reason: 'execution_aborted',
    });
    letGo();
    await expectCompleted(ref);
    expect(await executionsOf('BatchMachineArn', ref)).toEqual(['-1', '-2']);
  });

  test('starts an execution that vanished: taken by somebody who died before the start', async () => {
    const { ref, letGo } = await heldBatch();
    await stop(`${ref.batchId}-1`);
    await batches.takeAttempt(ref, 1, { idleAttempts: 0, committedAtAttempt: 0 });
    expect(await checkUntilMoved(ref)).toMatchObject({ reason: 'execution_not_started' });
    letGo();
    await expectCompleted(ref);
    expect(await executionsOf('BatchMachineArn', ref)).toEqual(['-1', '-2']);
  });

  test('starts a batch of which there is nothing but the record', async () => {
    const now = Date.now();
    const batch = aBatch(
      {
        projectId: run.projectId,
        inputFileUrl: await client.upload(LINES.join('\n')),
        callbackUrl: receiver.url,
        createdAt: now,
      },
      { dueAt: now },
    );
    await batches.create(batch);
    expect(await checkUntilMoved(batch.head)).toMatchObject({ from: 'validating', reason: 'execution_not_started' });
    await expectCompleted(batch.head);
    expect(await executionsOf('BatchMachineArn', batch.head)).toEqual(['-1']);
  });

  test('goes on with a batch whose execution failed', async () => {
    const { ref, letGo } = await heldBatch();
    const setAction = (action: string) =>
      table.send(
        new UpdateCommand({
          TableName: run.backstage.outputs.TableName ?? '',
          Key: keys.control(ref.batchId),
          UpdateExpression: 'SET #action = :action',
          ExpressionAttributeNames: { '#action': 'action' },
          ExpressionAttributeValues: { ':action': action },
        }),
      );
    // A record that no step can read: the step fails for good, and so does the execution.
    await setAction('no such action');
    letGo();
    for (let status: string | undefined; status !== 'FAILED'; await pause(50)) {
      const arn = executionArn('BatchMachineArn', `${ref.batchId}-1`);
      ({ status } = await sfn.send(new DescribeExecutionCommand({ executionArn: arn })));
    }
    await setAction('run');
    expect(await checkUntilMoved(ref)).toMatchObject({ reason: 'execution_failed' });
    await expectCompleted(ref);
  });

  test('starts a notification that was never started', async () => {
    const ref = await endedUnannounced();
    expect(await checkUntilMoved(ref)).toEqual({
      id: ref.batchId,
      from: 'completed',
      to: 'completed',
      reason: 'notification_not_started',
    });
    await client.until(ref.batchId, ({ delivered_at }) => delivered_at !== null);
    expect(notificationIds(ref)).toEqual([`msg_${ref.batchId}`]);
  });

  test('finds a batch that the due index has lost only after a sweep', async () => {
    const { ref, letGo } = await heldBatch();
    await stop(`${ref.batchId}-1`);
    await batches.setDue(ref, undefined);
    const { updatedAt } = await headOf(ref);
    // Long enough for it to be due, had it not been lost.
    while (Date.now() < updatedAt + 3_000) await pause(100);
    expect((await check()).batches).toEqual([]);
    expect(await run.backstage.invoke('FunctionsScheduleSweepBatches', {})).toEqual({ payload: null });
    expect(await checkUntilMoved(ref)).toMatchObject({ reason: 'execution_aborted' });
    letGo();
    await expectCompleted(ref);
  });

  test('three at once do nothing twice', async () => {
    // Two, since on a small machine no more than two invocations of Fetch can be held at a time.
    const stopped = [await heldBatch(), await heldBatch()];
    for (const { ref } of stopped) await stop(`${ref.batchId}-1`);
    const ended = [await endedUnannounced(), await endedUnannounced()];
    await untilDue([...stopped.map(({ ref }) => ref), ...ended]);

    const views = await Promise.all([check(), check(), check()]);
    const movedIds = new Set(views.flatMap((view) => view.batches.map(({ id }) => id)));
    expect([...movedIds].sort()).toEqual(
      [...stopped.map(({ ref }) => ref), ...ended].map(({ batchId }) => batchId).sort(),
    );
    for (const { letGo } of stopped) letGo();
    for (const { ref } of stopped) {
      await expectCompleted(ref);
      expect(await executionsOf('BatchMachineArn', ref)).toEqual(['-1', '-2']);
    }
    for (const ref of ended) {
      await client.until(ref.batchId, ({ delivered_at }) => delivered_at !== null);
      expect(await executionsOf('NotificationMachineArn', ref)).toEqual(['-notify-1']);
      expect(notificationIds(ref)).toEqual([`msg_${ref.batchId}`]);
    }
  });

  test('a batch that the due index has lost is found by itself when the local run starts again', async () => {
    const { ref, letGo } = await heldBatch();
    await batches.setDue(ref, undefined);
    const { dataDir } = run;
    await run.close();
    letGo();
    run = await startTestRun({ dataDir });
    client = createBatchClient(run.url, run.apiKey);
    await expectCompleted(ref);
  });
});
