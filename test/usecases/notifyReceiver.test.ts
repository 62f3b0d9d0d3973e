import type { RequestListener } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createReceiver } from '../../shared/adapters/net/receiver.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { notifyReceiver } from '../../shared/usecases/notifyReceiver.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';
import { recordedLog } from '../support/recordedLog.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

type Received = { headers: Record<string, string>; body: string };

let world: BatchWorld;
let server: WebServer;
let received: Received[];
let answer: Parameters<RequestListener>[1] extends infer R ? (response: R) => void : never;

beforeAll(async () => {
  world = await startBatchWorld({ notify: { pausesSeconds: [5, 300] } });
});
afterAll(() => world.close());
beforeEach(async () => {
  received = [];
  answer = (response) => response.writeHead(204).end();
  server = await startWebServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    received.push({ headers: request.headers as Record<string, string>, body });
    answer(response);
  });
});
afterEach(() => server.close());

async function ended(): Promise<BatchHead> {
  const now = world.clock.now();
  const head = await createTestBatch(world, {
    status: 'completed',
    callbackUrl: `${server.url}/hook`,
    enteredAt: { validating: now, completed: Date.parse('2026-01-15T10:30:00.000Z') },
    requestCounts: { total: 3, completed: 2, failed: 1 },
    outputFile: { key: 'outputs/1', bytes: 1 },
    errorsFile: { key: 'outputs/2', bytes: 1 },
    notification: 1,
  });
  await world.batches.setDue(head, now);
  return head;
}

const receivers = createReceiver({ allowPrivateNetworks: true });
const step = ({ projectId, batchId }: BatchHead, notification: number) => ({
  version: 1 as const,
  projectId,
  batchId,
  notification,
});
const notify = (head: BatchHead, notification = 1) => notifyReceiver({ ...world, receivers }, step(head, notification));
const isDue = async (head: BatchHead) =>
  (await world.batches.listDue(Number.MAX_SAFE_INTEGER, 1_000)).some(({ batchId }) => batchId === head.batchId);

describe('a notification', () => {
  test('is signed, holds what the contract says, and its delivery is on the record', async () => {
    const head = await ended();
    expect(await notify(head)).toMatchObject({ next: 'end', notification: 1 });
    const [message] = received;
    const secret = await world.webhookSecrets.get(head.projectId);
    expect(new Webhook(secret?.secret ?? '').verify(message?.body ?? '', message?.headers ?? {})).toEqual({
      event: 'batch.completed',
      batch_id: head.batchId,
      status: 'completed',
      completed_at: '2026-01-15T10:30:00.000Z',
      has_output_file: true,
      has_errors_file: true,
      request_counts: { total: 3, completed: 2, failed: 1 },
      project_id: head.projectId,
    });
    expect(message?.headers).toMatchObject({
      'webhook-id': `msg_${head.batchId}`,
      'content-type': 'application/json; charset=utf-8',
    });
    expect(await headOf(world, head)).toMatchObject({
      deliveredAt: world.clock.now(),
      delivery: { attempts: 1, lastStatus: 204 },
    });
    expect(await isDue(head)).toBe(false);
  });

  test('is tried again after each pause with the same id and body, and given up after the last', async () => {
    const head = await ended();
    answer = (response) => response.writeHead(500).end();
    expect(await notify(head)).toMatchObject({ next: 'wait', waitSeconds: 5 });
    expect(await headOf(world, head)).toMatchObject({
      delivery: { attempts: 1, lastStatus: 500, nextAttemptAt: world.clock.now() + 5_000 },
    });
    expect(await isDue(head)).toBe(true);
    world.clock.time += 5_000;
    expect(await notify(head)).toMatchObject({ next: 'wait', waitSeconds: 300 });
    world.clock.time += 300_000;
    expect(await notify(head)).toMatchObject({ next: 'end' });
    const { delivery, deliveredAt } = await headOf(world, head);
    expect(delivery).toMatchObject({ attempts: 3, lastStatus: 500, gaveUpAt: world.clock.now() });
    expect(deliveredAt).toBeUndefined();
    expect(await isDue(head)).toBe(false);
    expect(new Set(received.map(({ headers, body }) => `${headers['webhook-id']} ${body}`)).size).toBe(1);
    expect(received).toHaveLength(3);
  });

  test('that is asked for too early waits for its time', async () => {
    const head = await ended();
    answer = (response) => response.writeHead(503, { 'retry-after': '60' }).end();
    await notify(head);
    world.clock.time += 20_000;
    expect(await notify(head)).toMatchObject({ next: 'wait', waitSeconds: 40 });
    expect(received).toHaveLength(1);
  });

  test('that is answered 410 is given up at once', async () => {
    const head = await ended();
    answer = (response) => response.writeHead(410).end();
    expect(await notify(head)).toMatchObject({ next: 'end' });
    expect(await headOf(world, head)).toMatchObject({ delivery: { attempts: 1, lastStatus: 410 } });
    expect((await headOf(world, head)).delivery?.gaveUpAt).toBeDefined();
  });

  test('to a receiver that is not there is tried again, and the record says why', async () => {
    const head = await ended();
    await server.close();
    expect(await notify(head)).toMatchObject({ next: 'wait' });
    expect((await headOf(world, head)).delivery).toMatchObject({
      attempts: 1,
      lastError: 'The receiver could not be reached: the connection was refused.',
    });
  });

  test.each([200, 302, 400, 503])('that is answered %i leaves nothing of the answer but its status', async (status) => {
    const head = await ended();
    const said = 'SAID-BY-THE-RECEIVER';
    answer = (response) =>
      response
        .writeHead(status, said, { 'x-said': said, location: `https://127.0.0.1/${said}`, 'set-cookie': `a=${said}` })
        .end(JSON.stringify({ said, padding: said.repeat(10_000) }));
    const log = recordedLog();
    await notifyReceiver({ ...world, log, receivers }, step(head, 1));
    const record = await headOf(world, head);
    expect(record.delivery).toMatchObject({ attempts: 1, lastStatus: status });
    expect(log.lines).toHaveLength(1);
    expect(JSON.stringify([record, await world.batches.getDetail(head.batchId), log.lines])).not.toContain(said);
  });

  test('is not sent twice, by an execution that came too late, or for a batch that has not ended', async () => {
    const head = await ended();
    await notify(head);
    expect(await notify(head)).toMatchObject({ next: 'end' });
    expect(await notify(await ended(), 2)).toMatchObject({ next: 'end' });
    const open = await createTestBatch(world, { callbackUrl: server.url, notification: 1 });
    expect(await notify(open)).toMatchObject({ next: 'end' });
    expect(received).toHaveLength(1);
  });
});
