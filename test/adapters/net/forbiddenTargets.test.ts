import dns from 'node:dns/promises';
import { hostname } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { GuardOptions } from '../../../shared/adapters/net/guard.ts';
import { createInputSource } from '../../../shared/adapters/net/inputSource.ts';
import { createReceiver } from '../../../shared/adapters/net/receiver.ts';
import { createS3Client } from '../../../shared/adapters/s3/client.ts';
import { createBatchBody, retryBatchBody } from '../../../shared/contract/batchRequests.ts';
import { isPublicAddress } from '../../../shared/domain/publicAddress.ts';
import { notifyReceiver } from '../../../shared/usecases/notifyReceiver.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../../support/batchWorld.ts';
import { watchConnectionAttempts } from '../../support/connectionAttempts.ts';
import { FORBIDDEN_TARGETS, type ForbiddenTarget, NAMED_PORTS, resolverOf } from '../../support/forbiddenTargets.ts';
import { type Listeners, startListeners } from '../../support/listeners.ts';
import { TEST_CA } from '../../support/webServer.ts';

const s3Client = createS3Client({ region: 'us-east-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
const sourceOptions = { inputBuckets: [], s3Client, idleTimeoutMs: 5_000, maxRedirects: 5, pausesMs: [] };
const GUARDED: GuardOptions = { allowPrivateNetworks: false, ca: TEST_CA };

let listeners: Listeners;
let attempted: ReturnType<typeof watchConnectionAttempts>;
beforeAll(async () => {
  listeners = await startListeners(NAMED_PORTS);
});
afterAll(() => listeners.close());
beforeEach(() => {
  attempted = watchConnectionAttempts();
});
afterEach(() => attempted.stop());

const urlOf = ({ url }: ForbiddenTarget) => url.replace('PORT', String(listeners.port));
const ROWS = FORBIDDEN_TARGETS.map((target) => [target.url, target.dns.join(' '), target] as const);

test('the table has every target once', () => {
  expect(new Set(FORBIDDEN_TARGETS.map(({ url }) => url)).size).toBe(FORBIDDEN_TARGETS.length);
  expect(FORBIDDEN_TARGETS.length).toBeGreaterThanOrEqual(60);
});

describe('a forbidden target', () => {
  const asked: string[] = [];
  const options = { ...GUARDED, resolve: resolverOf(FORBIDDEN_TARGETS, asked) };
  const receiver = createReceiver(options);
  const source = createInputSource({ ...sourceOptions, ...options });

  test.each(ROWS)('%j (%s) is not connected to, for input or notification', async (_url, _dns, target) => {
    asked.length = 0;
    const url = urlOf(target);
    const error: unknown = await source.open(url).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: 'InputRejected', code: target.code });
    const answer = await receiver.post(url, { headers: {}, body: '{}', timeoutMs: 5_000 });
    if (answer.kind !== 'unreachable') return expect.fail(`it was answered ${answer.status}`);
    // A scanner learns neither where a name leads nor anything of a URL beyond its host.
    for (const words of [answer.reason, (error as Error).message]) {
      expect(words).not.toMatch(/SECRET|in\.jsonl|user/);
      if (target.refused === 'connection') {
        expect(words).toContain('is not at a public address');
        for (const address of target.dns.filter((dns) => !url.includes(dns))) expect(words).not.toContain(address);
      }
    }
    expect(asked.length > 0).toBe(target.refused === 'connection');
    expect(attempted.attempts).toEqual([]);
    expect(listeners.connections).toBe(0);
  });
});

describe('the creation of a batch', () => {
  const body = {
    name: 'a',
    type: 'COMPLETIONS',
    input_file_url: 'https://files.test/in.jsonl',
    callback_url: 'https://files.test/hook',
  };
  const problems = (schema: ReturnType<typeof createBatchBody> | ReturnType<typeof retryBatchBody>, value: unknown) =>
    schema.safeParse(value).error?.issues.map(({ path }) => path.join('.')) ?? [];
  const Create = createBatchBody({ allowPrivateNetworks: false });
  const Retry = retryBatchBody({ allowPrivateNetworks: false });

  test.each(ROWS)('%j (%s) is a 400 that names the field, where the URL shows it', (_url, _dns, target) => {
    const url = urlOf(target);
    const refused = target.refused === 'creation';
    expect(problems(Create, { ...body, input_file_url: url })).toEqual(refused ? ['input_file_url'] : []);
    expect(problems(Create, { ...body, callback_url: url })).toEqual(refused ? ['callback_url'] : []);
    expect(problems(Retry, { callback_url: url })).toEqual(refused ? ['callback_url'] : []);
  });

  test.each([443, 444, 1024, 3000, 8000, 8080, 8443, 9443, 49_152, 65_535])('port %i is as good as any', (port) => {
    const url = `https://files.test:${port}/hook`;
    expect(problems(Create, { ...body, input_file_url: url, callback_url: url })).toEqual([]);
  });
});

describe('the resolver of the system', () => {
  // Most machines resolve their own name to an address of their own.
  const own = hostname();

  test('is asked for a name, and its answer is checked', async ({ skip }) => {
    const addresses = await dns.lookup(own, { all: true }).catch(() => []);
    if (addresses.length === 0 || addresses.some(({ address }) => isPublicAddress(address))) skip();
    const source = createInputSource({ ...sourceOptions, ...GUARDED });
    const url = `https://${own}:${listeners.port}/`;
    await expect(source.open(url)).rejects.toMatchObject({ code: 'input_file_forbidden' });
    const answer = await createReceiver(GUARDED).post(url, { headers: {}, body: '{}', timeoutMs: 5_000 });
    expect(answer).toEqual({
      kind: 'unreachable',
      reason: `The host ${own.toLowerCase()} is not at a public address.`,
    });
    expect(attempted.attempts).toEqual([]);
    expect(listeners.connections).toBe(0);
  });
});

describe('a notification whose callback is forbidden', () => {
  let world: BatchWorld;
  beforeAll(async () => {
    world = await startBatchWorld();
  });
  afterAll(() => world.close());
  const receivers = createReceiver({ ...GUARDED, resolve: resolverOf(FORBIDDEN_TARGETS) });

  test.each(ROWS)('%j (%s) is not delivered, and its record says no more than that', async (_url, _dns, target) => {
    const now = world.clock.now();
    const { projectId, batchId } = await createTestBatch(world, {
      status: 'completed',
      callbackUrl: urlOf(target),
      enteredAt: { validating: now, completed: now },
      notification: 1,
    });
    const step = { version: 1 as const, projectId, batchId, notification: 1 };
    expect(await notifyReceiver({ ...world, receivers }, step)).toMatchObject({ next: 'wait' });
    const { delivery, deliveredAt } = await headOf(world, { projectId, batchId });
    expect(deliveredAt).toBeUndefined();
    expect(delivery).toMatchObject({ attempts: 1, lastError: expect.any(String) });
    expect(delivery?.lastStatus).toBeUndefined();
    expect(delivery?.lastError).toMatch(/^The (URL|host|port) [^/?]*\.$|^The URL must start with https:\/\/\.$/);
    expect(delivery?.lastError).not.toMatch(/SECRET|user/);
    expect(listeners.connections).toBe(0);
  });
});
