import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PutSecretValueCommand } from '@aws-sdk/client-secrets-manager';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { createSecretsClient } from '../../shared/adapters/secrets/client.ts';
import { systemIds } from '../../shared/adapters/system/ids.ts';
import { type RouteName, routes } from '../../shared/contract/routes.ts';
import { ROLES, type Role } from '../../shared/domain/roles.ts';
import { createKey } from '../../shared/usecases/createKey.ts';
import { createBatchClient } from '../support/batchClient.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { openRunStores } from '../support/runStores.ts';
import { steadyClock } from '../support/steadyClock.ts';
import { type IssuerKey, makeIssuerKey, startTokenIssuer, type TokenIssuer } from '../support/tokenIssuer.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** Who may call. `forged` and `expired` are API keys and tokens alike; from `other project` on each has both. */
const CALLERS = [
  'nobody',
  'forged',
  'expired',
  'other project',
  'viewer',
  'member',
  'admin',
  'owner',
  'operator',
] as const;
type Kind = (typeof CALLERS)[number];
type RowOf<Columns extends readonly string[]> = { readonly [Column in keyof Columns]: number };

/**
 * The status of each route for each kind of caller, in the order of `CALLERS`. What is asked about belongs to the
 * project `acme`; the caller of another project is its owner.
 */
// biome-ignore format: a table
const ACCESS = {
  //                   nobody forged expired other viewer member admin owner operator
  listBatches:         [401,  401,   401,    200,  200,   200,   200,  200,  401],
  createBatch:         [401,  401,   401,    201,  403,   403,   201,  201,  401],
  checkBatches:        [401,  401,   401,    401,  401,   401,   401,  401,  200],
  getBatch:            [401,  401,   401,    404,  200,   200,   200,  200,  401],
  cancelBatch:         [401,  401,   401,    404,  403,   403,   200,  200,  401],
  retryBatch:          [401,  401,   401,    404,  403,   403,   201,  201,  401],
  downloadBatch:       [401,  401,   401,    404,  200,   200,   200,  200,  401],
  getReceipt:          [401,  401,   401,    404,  200,   200,   200,  200,  401],
  createUpload:        [401,  401,   401,    201,  403,   403,   201,  201,  401],
  getWebhookSecret:    [401,  401,   401,    200,  403,   403,   200,  200,  401],
  rotateWebhookSecret: [401,  401,   401,    200,  403,   403,   200,  200,  401],
  createKey:           [401,  401,   401,    401,  401,   401,   401,  401,  201],
  listKeys:            [401,  401,   401,    401,  401,   401,   401,  401,  200],
  revokeKey:           [401,  401,   401,    401,  401,   401,   401,  401,  200],
  getHealth:           [200,  200,   200,    200,  200,   200,   200,  200,  200],
  getOpenApi:          [200,  200,   200,    200,  200,   200,   200,  200,  200],
} as const satisfies Record<RouteName, RowOf<typeof CALLERS>>;

const ROUTE_NAMES = Object.keys(routes) as RouteName[];
const ERRORS: Record<number, string> = { 401: 'unauthorized', 403: 'forbidden', 404: 'not_found' };

/** What a request carries, by how it is meant. */
type Headers = Record<string, string>;
const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });
const managementKey = (key: string): Headers => ({ 'users-management-key': key });

let run: TestRun;
let issuer: TokenIssuer;
let nextKey: IssuerKey;
let silent: WebServer;
let credentials: Record<Kind, Record<string, Headers>>;
/** Of `acme`: an ended batch with a failed line, one that hangs in its validation, and a key. */
let target: { ended: string; running: string; keyId: string };

const CALLBACK = 'http://127.0.0.1:9/hook';
/** A bucket that is not on the list: such a batch is taken, and fails at once. */
const BATCH = { name: 'b', type: 'COMPLETIONS', input_file_url: 's3://unlisted/in.jsonl', callback_url: CALLBACK };

beforeAll(async () => {
  issuer = await startTokenIssuer();
  silent = await startWebServer(() => undefined);
  run = await startTestRun({
    settings: {
      ...TEST_SETTINGS,
      tokens: issuer.tokens,
      logLevel: 'INFO',
      // So long does the batch hang in its validation that is there to be cancelled.
      fetch: { idleTimeoutSeconds: 600 },
    },
  });
});
afterAll(async () => {
  await run?.close();
  await Promise.all([issuer?.close(), silent?.close()]);
});

const claimsOf = (project: string, role: Role) => issuer.claimsOf({ [issuer.tokens.projectClaim]: project, role });
const tokenOf = (project: string, role: Role) => issuer.sign({ claims: claimsOf(project, role) });

async function makeKey(project: string, role: Role): Promise<{ id: string; key: string }> {
  const body = { project_id: project, role, name: role };
  const answer = await run.callAsOperator('POST', '/keys', { body });
  expect(answer.status).toBe(201);
  return answer.body;
}

/** An API key that was made in time and has expired since: the API itself makes none. */
async function makeExpiredKey(): Promise<string> {
  const stores = openRunStores(run);
  const aDayAgo = Date.now() - 86_400_000;
  const expires_at = new Date(aDayAgo + 1_000).toISOString();
  const body = { project_id: 'acme', role: 'owner' as const, name: 'old', expires_at };
  const { secret } = await createKey({ ...stores, clock: steadyClock(aDayAgo), ids: systemIds }, body);
  stores.close();
  return secret;
}

async function makeRevokedKey(): Promise<string> {
  const { id, key } = await makeKey('acme', 'owner');
  expect((await run.callAsOperator('DELETE', `/keys/${id}`)).status).toBe(200);
  return key;
}

async function makeCredentials(): Promise<typeof credentials> {
  const both = async (project: string, role: Role) => ({
    'an API key': bearer((await makeKey(project, role)).key),
    'a token': bearer(await tokenOf(project, role)),
  });
  const { key } = await makeKey('acme', 'owner');
  const forgeries = Object.entries(await issuer.forgeries(claimsOf('acme', 'owner')));
  return {
    nobody: {
      nothing: {},
      'an empty token': { authorization: 'Bearer ' },
      'another scheme': { authorization: 'Basic YTpi' },
    },
    forged: {
      'an API key that was never made': bearer(`plai_${'A'.repeat(43)}`),
      'an API key with another end': bearer(`${key.slice(0, -2)}${key.endsWith('AA') ? 'BB' : 'AA'}`),
      'a wrong operator key': managementKey('A'.repeat(64)),
      'an API key as the operator’s': managementKey(key),
      'the operator’s key as a token': bearer(run.operatorKey),
      ...Object.fromEntries(forgeries.map(([how, token]) => [`a token ${how}`, bearer(token)])),
    },
    expired: {
      'an API key': bearer(await makeExpiredKey()),
      'a revoked API key': bearer(await makeRevokedKey()),
      'a token': bearer(
        await issuer.sign({ claims: { ...claimsOf('acme', 'owner'), exp: Math.floor(Date.now() / 1000) - 3600 } }),
      ),
    },
    'other project': await both('other', 'owner'),
    viewer: await both('acme', 'viewer'),
    member: await both('acme', 'member'),
    admin: await both('acme', 'admin'),
    owner: await both('acme', 'owner'),
    operator: { 'the key': managementKey(run.operatorKey) },
  };
}

async function makeTarget(): Promise<typeof target> {
  const { id: keyId, key } = await makeKey('acme', 'owner');
  const client = createBatchClient(run.url, key);
  const line = { custom_id: 'a', method: 'POST', url: '/agents/a/invoke', body: { input: 'Hello' } };
  const input_file_url = await client.upload(`${JSON.stringify(line)}\n{"custom_id":"b"}\n`);
  const running = await client.create({ ...BATCH, input_file_url: silent.url });
  const ended = await client.create({ ...BATCH, input_file_url, on_invalid_line: 'skip' });
  expect(await client.untilEnded(ended.id)).toMatchObject({ request_counts: { completed: 1, failed: 1 } });
  return { ended: ended.id, running: running.id, keyId };
}

const BODIES: Partial<Record<RouteName, () => unknown>> = {
  createBatch: () => BATCH,
  createUpload: () => ({ bytes: 1 }),
  createKey: () => ({ project_id: 'acme', role: 'viewer', name: 'one more' }),
};

function send(name: RouteName, headers: Headers) {
  const { method, path } = routes[name];
  const batchId = name === 'cancelBatch' ? target.running : target.ended;
  const url = path.replace('{batch_id}', batchId).replace('{key_id}', target.keyId);
  const body = BODIES[name]?.();
  return run.call(method, url, { key: null, headers, ...(body === undefined ? {} : { body }) });
}

describe('before anybody has called', () => {
  it('the operator’s key is rotated: the new one opens, and the one before goes on doing so', async () => {
    const secrets = createSecretsClient({
      endpoint: run.backstage.environment.AWS_ENDPOINT_URL_SECRETS_MANAGER ?? '',
      region: 'us-east-1',
      credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
    });
    const SecretId = run.backstage.outputs.OperatorKeySecretArn;
    await secrets.send(new PutSecretValueCommand({ SecretId, SecretString: 'rotated-operator-key\n' }));
    secrets.destroy();
    for (const key of ['rotated-operator-key', run.operatorKey])
      expect(await run.callAsOperator('GET', '/keys', { key })).toMatchObject({ status: 200 });
    // All that follows here goes by the key from before the rotation.
  });

  it('the issuer shows another key, beside the one that it goes on signing with', async () => {
    const key = await tokenOf('acme', 'viewer');
    expect(await run.call('GET', '/batches', { key })).toMatchObject({ status: 200 });
    nextKey = await makeIssuerKey('RS256', 'rsa-2');
    issuer.keys = { ...issuer.keys, next: nextKey };
  });

  it('an issuer that cannot be reached makes a fault of ours, not a 401, until it is back', async () => {
    const headers = bearer(await tokenOf('acme', 'viewer'));
    const ask = () => run.call('GET', '/batches/batch_1/receipt', { key: null, headers });
    issuer.answer = { status: 503, body: 'down' };
    const answer = await ask();
    expect(answer).toMatchObject({ status: 500, body: { error: 'internal_error', request_id: expect.any(String) } });
    issuer.answer = undefined;
    // It is asked again after 5 s.
    await expect.poll(async () => (await ask()).status, { timeout: 60_000, interval: 500 }).toBe(404);
  });
});

describe('the table of access', () => {
  beforeAll(async () => {
    credentials = await makeCredentials();
    target = await makeTarget();
  });

  it('has a row for each route, and no other', () => {
    expect(Object.keys(ACCESS).sort()).toEqual([...ROUTE_NAMES].sort());
  });

  const refusals = { anyone: new Set<string>(), project: new Set<string>(), operator: new Set<string>() };
  const rows = ROUTE_NAMES.flatMap((name) =>
    CALLERS.map((kind, column) => [name, kind, ACCESS[name]?.[column]] as const),
  );
  it.each(rows)('%s answers %s with %i', async (name, kind, status) => {
    const seen: Record<string, number> = {};
    const wanted: Record<string, number | undefined> = {};
    for (const [how, headers] of Object.entries(credentials[kind])) {
      const answer = await send(name, headers);
      seen[how] = answer.status;
      wanted[how] = status;
      if (answer.status < 400) continue;
      expect(answer.body).toMatchObject({ error: ERRORS[answer.status], code: answer.status });
      if (answer.status !== 401) continue;
      const { caller } = routes[name];
      refusals[caller].add(JSON.stringify(answer.body));
      expect(answer.headers.get('www-authenticate')).toBe(caller === 'project' ? 'Bearer' : null);
    }
    expect(seen).toEqual(wanted);
  });

  it('says one and the same to everybody whom it does not let in, whatever the reason', () => {
    expect([...refusals.project]).toHaveLength(1);
    expect([...refusals.operator]).toHaveLength(1);
    expect(refusals.anyone.size).toBe(0);
  });
});

describe('a project', () => {
  it('is the same for its API keys and its tokens, and sees its own batches alone', async () => {
    const listed = async (headers: Headers) => {
      const { body } = await run.call('GET', '/batches', { key: null, headers });
      return (body.batches as { id: string; project_id: string }[]).map(({ id, project_id }) => [id, project_id]);
    };
    const { owner, 'other project': other } = credentials;
    const [byKey, byToken] = [await listed(owner['an API key'] ?? {}), await listed(owner['a token'] ?? {})];
    expect(byKey).toEqual(byToken);
    expect(byKey.map(([id]) => id)).toContain(target.ended);
    expect(new Set(byKey.map(([, project]) => project))).toEqual(new Set(['acme']));
    for (const headers of Object.values(other))
      expect(new Set((await listed(headers)).map(([, project]) => project))).toEqual(new Set(['other']));
  });

  it('does not find another one’s batch in any other way than one that never was', async () => {
    const headers = credentials['other project']['a token'] ?? {};
    const texts = [target.ended, 'batch_01J9ZQ3V6B8R4M2N7K5T1W0XYZ'].map(async (id) => {
      const { body } = await run.call('GET', `/batches/${id}`, { key: null, headers });
      return JSON.stringify(body).replaceAll(id, 'ID');
    });
    const [foreign, none] = await Promise.all(texts);
    expect(foreign).toBe(none);
  });

  it('has one signing secret, that no other sees', async () => {
    const secretOf = async (kind: Kind, how: string) =>
      (await send('getWebhookSecret', credentials[kind][how] ?? {})).body.secret;
    const secret = await secretOf('owner', 'a token');
    expect(secret).toMatch(/^whsec_/);
    expect(await secretOf('admin', 'an API key')).toBe(secret);
    expect(await secretOf('other project', 'a token')).not.toBe(secret);
  });
});

test('a revoked API key opens nothing from the next request on, neither for writing nor for reading', async () => {
  const { id, key } = await makeKey('acme', 'owner');
  const read = () => run.call('GET', '/batches', { key });
  const write = () => run.call('POST', '/files', { key, body: { bytes: 1 } });
  expect([(await read()).status, (await write()).status]).toEqual([200, 201]);
  expect((await run.callAsOperator('DELETE', `/keys/${id}`)).status).toBe(200);
  expect([(await write()).status, (await read()).status]).toEqual([401, 401]);
});

test('a key that the issuer has shown since opens as well', async () => {
  const headers = bearer(await issuer.sign({ claims: claimsOf('acme', 'viewer'), key: nextKey }));
  // Unknown keys are asked for at most once in 30 s.
  const ask = async () => (await run.call('GET', '/batches', { key: null, headers })).status;
  await expect.poll(ask, { timeout: 90_000, interval: 1_000 }).toBe(200);
});

test('no key and no token was written to a log', () => {
  const folder = join(run.dataDir, 'logs');
  const logs = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8'));
  expect(logs.join('').length).toBeGreaterThan(10_000);
  const secrets = Object.values(credentials)
    .flatMap((ways) => Object.values(ways).flatMap((headers) => Object.values(headers)))
    // Of a token its claims and its signature count as well.
    .flatMap((value) => value.replace(/^\w+ /, '').split('.'))
    .filter((part) => part.length > 20);
  expect(secrets.length).toBeGreaterThan(50);
  for (const log of logs) for (const secret of secrets) expect(log.includes(secret)).toBe(false);
});

test('every role has a column', () => {
  for (const role of ROLES) expect(CALLERS).toContain(role);
});
