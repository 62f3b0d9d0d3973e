import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createWebhookSecretStore } from '../../shared/adapters/dynamodb/webhookSecretStore.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import type { Receiver } from '../../shared/ports.ts';
import { getWebhookSecret } from '../../shared/usecases/getWebhookSecret.ts';
import { notifyReceiver } from '../../shared/usecases/notifyReceiver.ts';
import { rotateWebhookSecret } from '../../shared/usecases/rotateWebhookSecret.ts';
import { manualClock } from '../support/batchWorld.ts';
import { connectTo, startDynalite, type TestTable } from '../support/dynalite.ts';
import { loseAnswers } from '../support/lostAnswers.ts';
import { recordedLog } from '../support/recordedLog.ts';
import { aHead } from '../support/records.ts';

const HOUR_MS = 3_600_000;

let table: TestTable;
let clock: ReturnType<typeof manualClock>;
let projects = 0;
let caller: { projectId: string };
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());
beforeEach(() => {
  clock = manualClock();
  caller = { projectId: `project-${++projects}` };
});

let made = 0;
const ids = { ulid: () => '', secretBytes: (count: number) => new Uint8Array(count).fill(++made) };
const deps = () => ({ webhookSecrets: createWebhookSecretStore(table), clock, ids });
const rotate = () => rotateWebhookSecret(deps(), caller);
const later = (hours: number) => {
  clock.time += hours * HOUR_MS;
};

/** Headers and body of a notification that is sent now. */
async function sent(): Promise<{ headers: Record<string, string>; body: string }> {
  const posts: Parameters<Receiver['post']>[1][] = [];
  const now = clock.time;
  const head = aHead({ ...caller, status: 'completed', enteredAt: { completed: now }, notification: 1 });
  await notifyReceiver(
    {
      ...deps(),
      batches: { ...createBatchStore(table), get: async () => head, setDelivery: async () => undefined },
      receivers: {
        post: async (_, post) => {
          posts.push(post);
          return { kind: 'answered', status: 204 };
        },
      },
      log: recordedLog(),
      settings: SettingsSchema.parse({}),
    },
    { version: 1, ...caller, batchId: head.batchId, notification: 1 },
  );
  const [post] = posts;
  if (!post) throw new Error('Nothing was sent');
  return post;
}

/** The standardwebhooks library looks at the real time: what was sent later is verified as though it were now. */
function verifies(secret: string, { headers, body }: { headers: Record<string, string>; body: string }): boolean {
  const webhook = new Webhook(secret);
  const at = new Date(Number(headers['webhook-timestamp']) * 1000);
  const [, signature = ''] = webhook.sign(headers['webhook-id'] ?? '', at, body).split(',');
  return (headers['webhook-signature'] ?? '').split(' ').includes(`v1,${signature}`);
}

test('for 24 hours both sign, then the new one alone', async () => {
  const old = await getWebhookSecret(deps(), caller);
  const current = await rotate();
  for (const hours of [0, 23.9]) {
    later(hours);
    const message = await sent();
    expect([verifies(old.secret, message), verifies(current.secret, message)]).toEqual([true, true]);
  }
  later(0.1);
  const message = await sent();
  expect([verifies(old.secret, message), verifies(current.secret, message)]).toEqual([false, true]);
});

test('each rotation within a day has its own 24 hours', async () => {
  const first = await getWebhookSecret(deps(), caller);
  const second = await rotate();
  later(10);
  const third = await rotate();
  const signs = async () => {
    const message = await sent();
    return [first, second, third].map(({ secret }) => verifies(secret, message));
  };
  expect(await signs()).toEqual([true, true, true]);
  later(14);
  expect(await signs()).toEqual([false, true, true]);
  later(10);
  expect(await signs()).toEqual([false, false, true]);
});

test('a project that never had one gets one, and what was its first signs on', async () => {
  const { secret, previous } = await rotate();
  expect(previous).toHaveLength(1);
  expect(await getWebhookSecret(deps(), caller)).toMatchObject({ secret });
});

test('two at once make one, and both are told it', async () => {
  const first = await getWebhookSecret(deps(), caller);
  // Both have read the first before either writes.
  const webhookSecrets = { ...deps().webhookSecrets, getOrCreate: async () => first };
  const both = await Promise.all([1, 2].map(() => rotateWebhookSecret({ ...deps(), webhookSecrets }, caller)));
  const standing = await getWebhookSecret(deps(), caller);
  expect(standing.previous).toHaveLength(1);
  expect(both).toEqual([standing, standing]);
});

test('one whose answer from the table was lost is made once', async () => {
  await getWebhookSecret(deps(), caller);
  const client = connectTo(table.endpoint);
  const lost = loseAnswers(client, 'UpdateItem', 1);
  const webhookSecrets = createWebhookSecretStore({ client, tableName: table.tableName });
  const rotated = await rotateWebhookSecret({ ...deps(), webhookSecrets }, caller);
  client.destroy();
  expect(lost()).toBe(1);
  expect(await getWebhookSecret(deps(), caller)).toEqual(rotated);
  expect(rotated.previous).toHaveLength(1);
});

test('the header of one who rotates all day stays small: the ten newest of the old secrets sign', async () => {
  const all = [(await getWebhookSecret(deps(), caller)).secret];
  for (let times = 0; times < 12; times++) all.push((await rotate()).secret);
  const message = await sent();
  expect(all.map((secret) => verifies(secret, message))).toEqual([false, false, ...Array(11).fill(true)]);
});
