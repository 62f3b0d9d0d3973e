import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemIds } from '../../shared/adapters/system/ids.ts';
import { authenticate, authenticateOperator } from '../../shared/usecases/authenticate.ts';
import { createKey } from '../../shared/usecases/createKey.ts';
import { listKeys } from '../../shared/usecases/listKeys.ts';
import { revokeKey } from '../../shared/usecases/revokeKey.ts';
import { NOON } from '../support/batchRecords.ts';
import { connectTo, startDynalite, type TestTable } from '../support/dynalite.ts';
import { steadyClock } from '../support/steadyClock.ts';
import { tablePortsOn } from '../support/tablePorts.ts';

let table: TestTable;
beforeAll(async () => {
  table = await startDynalite();
});
afterAll(() => table.close());

const depsOn = () => ({ ...tablePortsOn(table), clock: steadyClock(NOON), ids: systemIds });
const bodyOf = (change: { project_id?: string; expires_at?: string } = {}) => ({
  project_id: 'acme',
  role: 'member' as const,
  name: 'CI',
  expires_at: null,
  ...change,
});
const unauthorized = { name: 'ApiError', error: 'unauthorized', code: 401 };

describe('an API key', () => {
  it('is shown once, kept as its hash, and opens its project with its role', async () => {
    const deps = depsOn();
    const { key, secret } = await createKey(deps, bodyOf());
    expect(secret).toMatch(/^plai_[\w-]{43}$/);
    expect(JSON.stringify(await deps.apiKeys.get(key.keyId))).not.toContain(secret);
    expect(secret.startsWith(key.prefix)).toBe(true);
    expect(await authenticate(deps, `Bearer ${secret}`)).toEqual({ projectId: 'acme', role: 'member' });
    expect(await authenticate(deps, `bearer  ${secret} `)).toEqual({ projectId: 'acme', role: 'member' });
  });

  it('opens nothing once it has expired', async () => {
    const deps = depsOn();
    const { secret } = await createKey(deps, bodyOf({ expires_at: new Date(NOON + 1000).toISOString() }));
    await expect(authenticate(deps, `Bearer ${secret}`)).resolves.toBeDefined();
    deps.clock.advance(1000);
    await expect(authenticate(deps, `Bearer ${secret}`)).rejects.toMatchObject(unauthorized);
  });

  it('cannot be made to expire in the past', async () => {
    const body = bodyOf({ expires_at: new Date(NOON).toISOString() });
    await expect(createKey(depsOn(), body)).rejects.toMatchObject({
      error: 'invalid_request',
      details: [{ param: 'expires_at' }],
    });
  });

  it('opens nothing once it is revoked, which can be said twice', async () => {
    const deps = depsOn();
    const { key, secret } = await createKey(deps, bodyOf());
    const revoked = await revokeKey(deps, key.keyId);
    expect(revoked).toMatchObject({ keyId: key.keyId, revokedAt: NOON });
    deps.clock.advance(1000);
    expect(await revokeKey(deps, key.keyId)).toEqual(revoked);
    await expect(authenticate(deps, `Bearer ${secret}`)).rejects.toMatchObject(unauthorized);
  });

  it('is read anew for each request, and consistently: what is revoked is revoked at once', async () => {
    const client = connectTo(table.endpoint);
    const reads: unknown[] = [];
    client.middlewareStack.add(
      (next, { commandName }) =>
        (args) => {
          if (commandName === 'GetItemCommand') reads.push((args.input as { ConsistentRead?: boolean }).ConsistentRead);
          return next(args);
        },
      { step: 'initialize', name: 'reads' },
    );
    const deps = { ...depsOn(), ...tablePortsOn({ ...table, client }) };
    const { secret } = await createKey(deps, bodyOf());
    reads.length = 0;
    for (let request = 0; request < 3; request++) await authenticate(deps, `Bearer ${secret}`);
    client.destroy();
    expect(reads).toEqual([true, true, true]);
  });

  it('that is not there cannot be revoked', async () => {
    const unknown = `key_${systemIds.ulid()}`;
    for (const id of [unknown, 'key_1', '', '../batches'])
      await expect(revokeKey(depsOn(), id)).rejects.toMatchObject({ error: 'not_found' });
  });

  it('is listed newest first, by project too', async () => {
    const deps = depsOn();
    const made: string[] = [];
    for (let i = 0; i < 3; i++) made.unshift((await createKey(deps, bodyOf({ project_id: 'listed' }))).key.keyId);
    const first = await listKeys(deps, { take: 2, project_id: 'listed' });
    expect(first.keys.map((key) => key.keyId)).toEqual(made.slice(0, 2));
    expect(first.hasMore).toBe(true);
    const rest = await listKeys(deps, { take: 2, after: made[1], project_id: 'listed' });
    expect(rest.keys.map((key) => key.keyId)).toEqual(made.slice(2));
    expect(rest.hasMore).toBe(false);
  });
});

describe('a caller without a valid token', () => {
  it.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Basic YTpi',
    'plai_x',
    `Bearer plai_${'A'.repeat(43)}`,
    'Bearer eyJhbGciOiJub25lIn0.e30.',
    'Bearer a b',
    'Bearer plai_ü',
  ])('is turned away: %s', async (header) => {
    await expect(authenticate(depsOn(), header)).rejects.toMatchObject(unauthorized);
  });
});

describe('a bearer token that is no API key', () => {
  it('goes to the verifier of a deployment that has one', async () => {
    const tokens = {
      verify: async (token: string) => (token === 'a.b.c' ? { projectId: 'acme', role: 'viewer' as const } : undefined),
    };
    const deps = { ...depsOn(), tokens };
    expect(await authenticate(deps, 'Bearer a.b.c')).toEqual({ projectId: 'acme', role: 'viewer' });
    await expect(authenticate(deps, 'Bearer a.b.d')).rejects.toMatchObject(unauthorized);
    // One that calls itself an API key is none of the issuer's.
    const verify = async () => ({ projectId: 'acme', role: 'viewer' as const });
    await expect(authenticate({ ...deps, tokens: { verify } }, 'Bearer plai_a.b.c')).rejects.toMatchObject(
      unauthorized,
    );
  });

  it('that nothing can be said about is a fault of ours, not the caller’s', async () => {
    const verify = () => Promise.reject(new Error('the issuer cannot be reached'));
    const answer = authenticate({ ...depsOn(), tokens: { verify } }, 'Bearer a.b.c');
    await expect(answer).rejects.toThrow('the issuer cannot be reached');
    await expect(answer).rejects.not.toMatchObject({ code: 401 });
  });
});

describe('the operator', async () => {
  const operatorKey = { accepted: async () => ['the-operator-key', 'the-key-before'] };

  it.each(await operatorKey.accepted())('is known by %s', async (key) => {
    await expect(authenticateOperator({ operatorKey }, key)).resolves.toBeUndefined();
  });

  it.each([
    undefined,
    '',
    'the-operator-ke',
    'the-operator-keythe-key-before',
    'the-operator-key ',
    'THE-OPERATOR-KEY',
  ])('is not: %j', async (key) => {
    await expect(authenticateOperator({ operatorKey }, key)).rejects.toMatchObject(unauthorized);
  });
});
