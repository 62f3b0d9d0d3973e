import type { IncomingHttpHeaders, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createBatchClient, type WireBatch } from '../support/batchClient.ts';
import { CANARIES } from '../support/canaries.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** Longer than a busy machine takes to answer, so that only a receiver that is meant to be slow is. */
const TIMEOUT_SECONDS = 6;
/** Three attempts. */
const PAUSES_SECONDS = [1, 2];

type Delivery = {
  attempts: number;
  last_status: number | null;
  last_error: string | null;
  next_attempt_at: string | null;
  gave_up_at: string | null;
};
type Received = { id: string; headers: Record<string, string>; body: string; at: number; seen: WireBatch };
/** What a receiver does with the attempt of that number, from 1. */
type Behaviour = (response: ServerResponse, attempt: number, socket: Socket) => void | Promise<void>;

let run: TestRun;
let web: WebServer;
let client: ReturnType<typeof createBatchClient>;
let inputFileUrl: string;
const behaviours = new Map<string, Behaviour>();
const received: Received[] = [];

/** Keeps what came, and what the API says of the batch at that moment: the record as the attempt before has left it. */
const receive: RequestListener = async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).toString('utf8');
  const { batch_id: id } = JSON.parse(body) as { batch_id: string };
  received.push({ id, headers: textHeaders(request.headers), body, at: Date.now(), seen: await client.get(id) });
  await behaviours.get((request.url ?? '').split('?')[0] ?? '')?.(response, attemptsAt(id).length, request.socket);
};
const textHeaders = (headers: IncomingHttpHeaders) => headers as Record<string, string>;
const attemptsAt = (id: string) => received.filter((each) => each.id === id);

beforeAll(async () => {
  web = await startWebServer(receive);
  run = await startTestRun({
    settings: { ...TEST_SETTINGS, notify: { timeoutSeconds: TIMEOUT_SECONDS, pausesSeconds: PAUSES_SECONDS } },
  });
  client = createBatchClient(run.url, run.apiKey);
  const line = { custom_id: 'a', method: 'POST', url: '/agents/any/invoke', body: { input: 'hello' } };
  inputFileUrl = await client.upload(JSON.stringify(line));
});
afterAll(async () => {
  await run?.close();
  await web?.close();
});

async function createBatch(callbackUrl: string): Promise<WireBatch> {
  return await client.create({ type: 'COMPLETIONS', input_file_url: inputFileUrl, callback_url: callbackUrl });
}

/** A batch whose receiver behaves like that. */
async function told(path: string, behave: Behaviour): Promise<WireBatch> {
  behaviours.set(path, behave);
  return await createBatch(`${web.url}${path}?${CANARIES.callback}`);
}

const deliveryOf = (batch: WireBatch) => batch.delivery as Delivery | null;
/** Many wait at once here: less often than one alone would ask. */
async function until(id: string, is: (batch: WireBatch) => boolean): Promise<WireBatch> {
  for (;;) {
    const batch = await client.get(id);
    if (is(batch)) return batch;
    await pause(500);
  }
}
const untilDelivered = (id: string) => until(id, ({ delivered_at }) => delivered_at !== null);
const untilGivenUp = (id: string) => until(id, (batch) => typeof deliveryOf(batch)?.gave_up_at === 'string');
const answer = (status: number, headers: Record<string, string> = {}): Behaviour => {
  return (response) => void response.writeHead(status, headers).end();
};
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

// All of them at once: none has to wait for another's pauses.
describe.concurrent('a receiver that', () => {
  test('fails twice and then answers is told three times under one id, and each stage is on the record', async () => {
    const { id } = await told('/recovers', (response, attempt) => {
      response.writeHead([500, 404][attempt - 1] ?? 202).end('whatever');
    });
    const batch = await untilDelivered(id);
    const attempts = attemptsAt(id);
    expect(attempts.map(({ seen }) => [seen.status, seen.delivered_at, deliveryOf(seen)])).toEqual([
      ['completed', null, null],
      [
        'completed',
        null,
        {
          attempts: 1,
          last_status: 500,
          last_error: 'The receiver answered 500.',
          next_attempt_at: expect.stringMatching(TIME),
          gave_up_at: null,
        },
      ],
      ['completed', null, expect.objectContaining({ attempts: 2, last_status: 404 })],
    ]);
    expect(batch.delivered_at).toMatch(TIME);
    expect(batch.delivery).toEqual({
      attempts: 3,
      last_status: 202,
      last_error: null,
      next_attempt_at: null,
      gave_up_at: null,
    });
    expect(new Set(attempts.map(({ headers, body }) => `${headers['webhook-id']} ${body}`))).toEqual(
      new Set([`msg_${id} ${attempts[0]?.body}`]),
    );
    // The pause is kept to: an attempt may come a second early at most.
    for (const [index, pauseSeconds] of PAUSES_SECONDS.entries()) {
      const [before, after] = [attempts[index], attempts[index + 1]];
      expect((after?.at ?? 0) - (before?.at ?? 0)).toBeGreaterThanOrEqual((pauseSeconds - 1) * 1000);
    }
  });

  test('asks for a longer pause gets it', async () => {
    const { id } = await told('/later', (response, attempt) => {
      response.writeHead(attempt === 1 ? 503 : 204, attempt === 1 ? { 'retry-after': '4' } : {}).end();
    });
    await untilDelivered(id);
    const [first, second] = attemptsAt(id);
    const nextAt = Date.parse((second && deliveryOf(second.seen)?.next_attempt_at) ?? '');
    expect(nextAt).toBeGreaterThanOrEqual((first?.at ?? 0) + 4_000);
    expect(second?.at).toBeGreaterThanOrEqual(nextAt - 1_000);
  });

  test('answers 410 is never asked again', async () => {
    const { id } = await told('/gone', answer(410));
    expect((await untilGivenUp(id)).delivery).toEqual({
      attempts: 1,
      last_status: 410,
      last_error: 'The receiver answered 410.',
      next_attempt_at: null,
      gave_up_at: expect.stringMatching(TIME),
    });
    expect(attemptsAt(id)).toHaveLength(1);
  });

  test.each<[string, string, Behaviour, { last_status: number | null; last_error: string }]>([
    [
      'redirects is not followed',
      '/moved',
      answer(307, { location: '/moved-to' }),
      { last_status: 307, last_error: 'The receiver answered 307.' },
    ],
    ['fails each time', '/broken', answer(500), { last_status: 500, last_error: 'The receiver answered 500.' }],
    [
      'never answers',
      '/silent',
      () => undefined,
      { last_status: null, last_error: 'The receiver could not be reached: timed out.' },
    ],
    [
      'sends its head without end',
      '/endless-head',
      (_, __, socket) => {
        socket.write('HTTP/1.1 200 OK\r\n');
        const more = () =>
          void (socket.destroyed || socket.write(`x-${'y'.repeat(1_000)}: z\r\n`, () => setImmediate(more)));
        more();
      },
      { last_status: null, last_error: 'The receiver could not be reached: its answer has too large a head.' },
    ],
    [
      'speaks another protocol',
      '/smtp',
      (_, __, socket) => void socket.end('220 mail.example ready\r\n'),
      { last_status: null, last_error: 'The receiver could not be reached: it does not answer in HTTP.' },
    ],
    [
      'resets the connection',
      '/reset',
      (_, __, socket) => void socket.resetAndDestroy(),
      {
        last_status: null,
        last_error: expect.stringMatching(/^The receiver could not be reached: the connection was/),
      },
    ],
  ])(
    '%s: three attempts, then given up, and the record says why',

    async (_, path, behave, said) => {
      const { id } = await told(path, behave);
      const batch = await untilGivenUp(id);
      expect(batch).toMatchObject({
        status: 'completed',
        delivered_at: null,
        delivery: { attempts: 3, next_attempt_at: null, gave_up_at: expect.stringMatching(TIME), ...said },
      });
      expect(attemptsAt(id)).toHaveLength(3);
      expect(web.requests).not.toContain('POST /moved-to');
    },
  );

  test('is not there: three attempts, then given up', async () => {
    const nobody = await startWebServer(() => undefined);
    await nobody.close();
    const { id } = await createBatch(`${nobody.url}/hook`);
    expect(deliveryOf(await untilGivenUp(id))).toMatchObject({
      attempts: 3,
      last_status: null,
      last_error: 'The receiver could not be reached: the connection was refused.',
    });
  });

  test('answers 200 and a body without end has been told', async () => {
    const { id } = await told('/endless-body', (response) => {
      response.writeHead(200);
      const more = () => void (response.destroyed || response.write('x'.repeat(10_000), () => setImmediate(more)));
      more();
    });
    expect(deliveryOf(await untilDelivered(id))).toMatchObject({ attempts: 1, last_status: 200 });
  });
});

test('slow receivers hold up no other batch', async () => {
  const held: ServerResponse[] = [];
  const slow: string[] = [];
  // Two, since on a small machine no more than two invocations of Notify can be held at a time.
  for (let n = 0; n < 2; n++) slow.push((await told('/held', (response) => void held.push(response))).id);
  await Promise.all(slow.map((id) => client.untilEnded(id)));
  const quick: string[] = [];
  for (let n = 0; n < 5; n++) quick.push((await told('/quick', answer(204))).id);
  for (const id of quick) {
    expect(await untilDelivered(id)).toMatchObject({ status: 'completed' });
  }
  // All that time nobody has answered for the slow ones, which have ended all the same.
  for (const id of slow) expect(await client.get(id)).toMatchObject({ status: 'completed', delivered_at: null });
  behaviours.set('/held', answer(204));
  for (const response of held) response.writeHead(204).end();
});

describe('the signing secret', () => {
  const verifies = (secret: string, { body, headers }: Received): boolean => {
    try {
      new Webhook(secret).verify(body, headers);
      return true;
    } catch {
      return false;
    }
  };

  test('after a rotation the old and the new one sign, also what is tried again', async () => {
    const secret = async (method: string, path: string) => (await run.call(method, path)).body.secret as string;
    const first = await secret('GET', '/webhooks/secret');
    let rotated: string | undefined;
    const { id } = await told('/rotated', async (response, attempt) => {
      if (attempt === 1) rotated = await secret('POST', '/webhooks/secret/rotate');
      response.writeHead(attempt === 1 ? 500 : 204).end();
    });
    await untilDelivered(id);
    if (rotated === undefined) throw new Error('The secret was not rotated');
    const current = rotated;
    expect(await secret('GET', '/webhooks/secret')).toBe(current);
    const [before, after] = attemptsAt(id);
    if (!before || !after) throw new Error('There were two attempts');
    expect([verifies(first, before), verifies(current, before)]).toEqual([true, false]);
    expect([verifies(first, after), verifies(current, after)]).toEqual([true, true]);
    expect(after.headers['webhook-signature']?.split(' ')).toHaveLength(2);
    expect(verifies(first, { ...after, body: `${after.body} ` })).toBe(false);
  });

  test('is rotated by those who manage, once for each who asks, and for their project alone', async () => {
    const key = async (role: string, project_id = 'rotating') =>
      (await run.callAsOperator('POST', '/keys', { body: { project_id, role, name: role } })).body.key as string;
    const rotate = async (role: string, project?: string) =>
      run.call('POST', '/webhooks/secret/rotate', { key: await key(role, project) });
    for (const role of ['member', 'viewer'])
      expect(await rotate(role)).toMatchObject({ status: 403, body: { error: 'forbidden', code: 403 } });

    const other = (await run.call('GET', '/webhooks/secret', { key: await key('owner', 'other') })).body;
    const [admin, owner] = [await rotate('admin'), await rotate('owner')];
    for (const { status, body } of [admin, owner]) {
      expect(status).toBe(200);
      expect(body).toEqual({ secret: expect.stringMatching(/^whsec_.{44}$/), created_at: expect.stringMatching(TIME) });
    }
    expect(owner.body.secret).not.toBe(admin.body.secret);
    expect((await run.call('GET', '/webhooks/secret', { key: await key('owner', 'other') })).body).toEqual(other);
    expect(await run.call('POST', '/webhooks/secret/rotate', { key: null })).toMatchObject({ status: 401 });
  });
});
