import * as fc from 'fast-check';
import type { JWK } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import { readJsonDocument } from '../../../shared/adapters/net/jsonDocument.ts';
import { createTokenVerifier } from '../../../shared/adapters/tokens/tokenVerifier.ts';
import { ROLES } from '../../../shared/domain/roles.ts';
import { NOON } from '../../support/batchRecords.ts';
import { recordedLog } from '../../support/recordedLog.ts';
import { steadyClock } from '../../support/steadyClock.ts';
import { type IssuerKey, makeIssuerKey, startTokenIssuer, type TokenIssuer } from '../../support/tokenIssuer.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const SOME_KEY = (await makeIssuerKey('ES256', 'ec-1')).publicJwk;

let issuer: TokenIssuer;
beforeAll(async () => {
  issuer = await startTokenIssuer();
});
afterAll(() => issuer.close());

let shown: TokenIssuer['keys'];
beforeEach(() => {
  shown = issuer.keys;
});
afterEach(() => {
  issuer.keys = shown;
  issuer.answer = undefined;
});

/** As a function of the API has it after a cold start: over HTTP, at noon. */
function verifier() {
  const clock = steadyClock(NOON);
  const log = recordedLog();
  const { tokens } = issuer;
  const read = () =>
    readJsonDocument(tokens.jwksUrl, { allowPrivateNetworks: true, timeoutMs: 5_000, maxBytes: 64 * 1024 });
  return { clock, log, ...createTokenVerifier({ tokens, read, log, now: clock.now }) };
}
const at = (changed: Record<string, unknown> = {}) => issuer.claimsOf(changed, NOON);
const NOON_SECONDS = NOON / 1000;
const OWNER = { projectId: 'acme', role: 'owner' };

describe('a token of the issuer', () => {
  it.each(['RS256', 'ES256'] as const)('opens its project with its role, signed by %s', async (alg) => {
    const token = await issuer.sign({ claims: at(), key: issuer.keys[alg] });
    expect(await verifier().verify(token)).toEqual(OWNER);
  });

  it.each(ROLES)('may carry the role %s', async (role) => {
    expect(await verifier().verify(await issuer.sign({ claims: at({ role }) }))).toEqual({ projectId: 'acme', role });
  });

  it('may be for several audiences, and name no key where only one fits', async () => {
    const claims = at({ aud: ['another-api', issuer.tokens.audience] });
    expect(await verifier().verify(await issuer.sign({ claims, header: { kid: undefined } }))).toEqual(OWNER);
  });

  it.each([
    ['exp', -59, true],
    ['exp', -60, false],
    ['nbf', 60, true],
    ['nbf', 61, false],
  ] as const)('whose %s is %i s from now is taken for good: %s', async (claim, seconds, good) => {
    const token = await issuer.sign({ claims: at({ [claim]: NOON_SECONDS + seconds }) });
    expect(await verifier().verify(token)).toEqual(good ? OWNER : undefined);
  });

  it('ages while the function lives', async () => {
    const { verify, clock } = verifier();
    const token = await issuer.sign({ claims: at() });
    expect(await verify(token)).toEqual(OWNER);
    clock.advance(11 * MINUTE);
    expect(await verify(token)).toBeUndefined();
  });
});

describe('a token that is none', () => {
  test.each([
    ['name their algorithm', (key: IssuerKey) => key],
    ['name none', (key: IssuerKey) => withJwk(key, { alg: undefined, use: undefined })],
  ])('is refused in every way in which it was forged, where the keys %s', async (_, shownAs) => {
    const { RS256, ES256 } = issuer.keys;
    issuer.keys = { RS256: shownAs(RS256), ES256: shownAs(ES256) };
    const { verify } = verifier();
    const forgeries = Object.entries(await issuer.forgeries(at()));
    expect(forgeries.length).toBeGreaterThan(15);
    const accepted: string[] = [];
    for (const [how, token] of forgeries) if ((await verify(token)) !== undefined) accepted.push(how);
    expect(accepted).toEqual([]);
    expect(await verify(await issuer.sign({ claims: at() }))).toEqual(OWNER);
  });

  it.each<[string, unknown]>([
    ['exp', undefined],
    ['exp', String(NOON_SECONDS + 600)],
    ['nbf', 'now'],
    ['iss', undefined],
    ['iss', ['https://issuer.example/']],
    ['aud', undefined],
    ['aud', []],
    ['aud', { 'batch-api': true }],
    ['https://acme.example/project', undefined],
    ['https://acme.example/project', ''],
    ['https://acme.example/project', 7],
    ['https://acme.example/project', ['acme']],
    ['https://acme.example/project', { id: 'acme' }],
    ['https://acme.example/project', 'acme/../other'],
    ['https://acme.example/project', 'acme#1'],
    ['https://acme.example/project', ' acme'],
    ['https://acme.example/project', '-acme'],
    ['https://acme.example/project', 'a'.repeat(129)],
    ['role', undefined],
    ['role', ''],
    ['role', 'Owner'],
    ['role', 'root'],
    ['role', ['owner']],
    ['role', 'toString'],
  ])('is one whose claim %s is %j', async (claim, value) => {
    const { verify, log } = verifier();
    expect(await verify(await issuer.sign({ claims: at({ [claim]: value }) }))).toBeUndefined();
    expect(log.lines).toMatchObject([{ level: 'info', message: 'token refused' }]);
  });

  it('is one that would be good, but is longer than any token', async () => {
    const { verify, log } = verifier();
    expect(await verify(await issuer.sign({ claims: at({ pad: 'x'.repeat(8192) }) }))).toBeUndefined();
    expect(log.lines.map(({ fields }) => fields)).toEqual([{ reason: 'too_long' }]);
  });

  it('is any other text, and none of it makes a fault of ours', async () => {
    const { verify } = verifier();
    const [header = '', payload = '', signature = ''] = (await issuer.sign({ claims: at() })).split('.');
    const part = fc.oneof(
      fc.string({ maxLength: 60 }),
      fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value)).toString('base64url')),
      fc
        .record({ alg: fc.constantFrom('RS256', 'ES256', 'none', 'HS256', 7), kid: fc.jsonValue() })
        .map((value) => Buffer.from(JSON.stringify(value)).toString('base64url')),
    );
    const text = fc.oneof(
      fc.string(),
      fc.tuple(part, part, part).map((parts) => parts.join('.')),
      part.map((forged) => `${forged}.${payload}.${signature}`),
      part.map((forged) => `${header}.${forged}.${signature}`),
      part.map((forged) => `${header}.${payload}.${forged}`),
    );
    await fc.assert(
      fc.asyncProperty(text, async (token) => {
        expect(await verify(token)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  it('leaves its reason in the log, and nothing of what it says', async () => {
    const { verify, log } = verifier();
    const secret = { role: 'role-of-the-secret', sub: 'sub-of-the-secret' };
    for (const token of [
      await issuer.sign({ claims: at({ ...secret, role: 'owner', aud: 'aud-of-the-secret' }) }),
      await issuer.sign({ claims: at({ ...secret, role: 'owner', exp: 1 }) }),
      await issuer.sign({ claims: at({ ...secret, role: 'owner' }), key: await makeIssuerKey('RS256', 'kid-secret') }),
      await issuer.sign({ claims: at(secret) }),
    ])
      expect(await verify(token)).toBeUndefined();
    expect(log.lines.map(({ fields }) => fields.reason)).toEqual([
      'claim_aud',
      'ERR_JWT_EXPIRED',
      'ERR_JWKS_NO_MATCHING_KEY',
      'role_claim',
    ]);
    expect(JSON.stringify(log.lines)).not.toContain('secret');
  });
});

describe('the keys of the issuer', () => {
  it('are read once for all who ask, and again after ten minutes', async () => {
    const { verify, clock } = verifier();
    const token = await issuer.sign({ claims: at({ exp: NOON_SECONDS + 3600 }) });
    const before = issuer.asked();
    expect(await Promise.all([verify(token), verify(token), verify(token)])).toEqual([OWNER, OWNER, OWNER]);
    clock.advance(10 * MINUTE - 1);
    await verify(token);
    expect(issuer.asked() - before).toBe(1);
    clock.advance(1);
    await Promise.all([verify(token), verify(token)]);
    expect(issuer.asked() - before).toBe(2);
  });

  it('are read again where a token names a new one; what was withdrawn opens nothing then', async () => {
    const { verify, clock } = verifier();
    const old = await issuer.sign({ claims: at() });
    expect(await verify(old)).toEqual(OWNER);
    await issuer.rotate('rsa-2');
    const fresh = await issuer.sign({ claims: at() });
    clock.advance(30 * SECOND);
    expect(await verify(old)).toEqual(OWNER);
    expect(await verify(fresh)).toEqual(OWNER);
    expect(await verify(old)).toBeUndefined();
  });

  it('that were withdrawn open nothing after ten minutes, whether or not a token names a new one', async () => {
    const { verify, clock } = verifier();
    const old = await issuer.sign({ claims: at({ exp: NOON_SECONDS + 3600 }) });
    expect(await verify(old)).toEqual(OWNER);
    await issuer.rotate('rsa-2');
    clock.advance(10 * MINUTE);
    expect(await verify(old)).toBeUndefined();
  });

  it('are asked for at most once in 30 s, however many tokens name unknown ones', async () => {
    const { verify, clock } = verifier();
    const before = issuer.asked();
    const stranger = await makeIssuerKey('RS256', 'unknown');
    for (let second = 0; second < 90; second++) {
      await verify(await issuer.sign({ claims: at(), key: { ...stranger, kid: `unknown-${second}` } }));
      clock.advance(SECOND);
    }
    expect(issuer.asked() - before).toBe(3);
  });

  it('go on for an hour while the issuer cannot be read; then nothing can be said of a token', async () => {
    const { verify, clock, log } = verifier();
    const token = await issuer.sign({ claims: at({ exp: NOON_SECONDS + 7200 }) });
    expect(await verify(token)).toEqual(OWNER);
    issuer.answer = { status: 503, body: 'down' };
    const before = issuer.asked();
    for (let minute = 1; minute < 60; minute++) {
      clock.advance(MINUTE);
      expect(await verify(token)).toEqual(OWNER);
    }
    expect(issuer.asked() - before).toBe(50);
    expect(log.lines[0]).toMatchObject({ level: 'warn', message: 'issuer keys not read' });
    expect(log.lines[0]?.fields.reason).toMatch(/127\.0\.0\.1:\d+ cannot be read: it answered 503\.$/);
    clock.advance(MINUTE);
    await expect(verify(token)).rejects.toMatchObject({ name: 'IssuerUnreachable' });
    issuer.answer = undefined;
    clock.advance(5 * SECOND);
    expect(await verify(token)).toEqual(OWNER);
  });

  it('are asked for once in 5 s while there are none', async () => {
    const { verify, clock } = verifier();
    const token = await issuer.sign({ claims: at() });
    issuer.answer = { status: 500, body: '' };
    const before = issuer.asked();
    for (let tries = 0; tries < 4; tries++) {
      await expect(verify(token)).rejects.toMatchObject({ name: 'IssuerUnreachable' });
      clock.advance(2 * SECOND);
    }
    expect(issuer.asked() - before).toBe(2);
  });

  it.each([
    ['no JSON', '<html>'],
    ['no key set', '{"error":"x"}'],
    [
      'keys that are none',
      '{"keys":[1,null,{"kty":"RSA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"rsa-1"}]}',
    ],
    ['no keys', '{"keys":[]}'],
    [
      'secrets',
      '{"keys":[{"kty":"oct","kid":"rsa-1","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA","alg":"HS256"}]}',
    ],
    ['very many', JSON.stringify({ keys: Array(101).fill(SOME_KEY) })],
    ['too much', JSON.stringify({ keys: [], pad: 'x'.repeat(64 * 1024) })],
  ])('of an issuer that shows %s cannot be read, and those from before stay', async (_, body) => {
    const { verify, clock } = verifier();
    const token = await issuer.sign({ claims: at({ exp: NOON_SECONDS + 3600 }) });
    issuer.answer = { status: 200, body };
    await expect(verify(token)).rejects.toMatchObject({ name: 'IssuerUnreachable' });
    issuer.answer = undefined;
    clock.advance(5 * SECOND);
    expect(await verify(token)).toEqual(OWNER);
    issuer.answer = { status: 200, body };
    clock.advance(11 * MINUTE);
    expect(await verify(token)).toEqual(OWNER);
  });

  it.each<[string, () => Promise<TokenIssuer['keys']['RS256']>]>([
    ['of another curve', () => makeIssuerKey('ES384', 'odd')],
    ['of another kind', () => makeIssuerKey('EdDSA', 'odd')],
    ['meant for encryption', async () => withJwk(await makeIssuerKey('RS256', 'odd'), { use: 'enc' })],
    ['meant for RS512', async () => withJwk(await makeIssuerKey('RS256', 'odd'), { alg: 'RS512' })],
    ['not meant to verify', async () => withJwk(await makeIssuerKey('RS256', 'odd'), { key_ops: ['encrypt'] })],
  ])('%s verify nothing', async (_, make) => {
    const odd = await make();
    issuer.keys = { ...issuer.keys, ES256: odd };
    const { verify } = verifier();
    expect(await verify(await issuer.sign({ claims: at(), key: odd }))).toBeUndefined();
    expect(await verify(await issuer.sign({ claims: at() }))).toEqual(OWNER);
  });

  it.each([
    [1024, undefined],
    [2048, OWNER],
  ])('of RSA have 2048 bits at least: with %i the token answers %j', async (modulusLength, answer) => {
    const rsa = {
      name: 'RSASSA-PKCS1-v1_5',
      hash: 'SHA-256',
      modulusLength,
      publicExponent: new Uint8Array([1, 0, 1]),
    };
    const { privateKey, publicKey } = await crypto.subtle.generateKey(rsa, true, ['sign', 'verify']);
    const publicJwk = { ...(await crypto.subtle.exportKey('jwk', publicKey)), kid: 'rsa-1' } as JWK;
    issuer.keys = { ...issuer.keys, RS256: { ...issuer.keys.RS256, publicJwk } };
    // By hand, since jose does not sign with a weak key either.
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${part({ alg: 'RS256', kid: 'rsa-1' })}.${part(at())}`;
    const signature = await crypto.subtle.sign(rsa.name, privateKey, Buffer.from(signed));
    const token = `${signed}.${Buffer.from(signature).toString('base64url')}`;
    expect(await verifier().verify(token)).toEqual(answer);
  });
});

function withJwk<K extends { publicJwk: object }>(key: K, changed: object): K {
  return { ...key, publicJwk: { ...key.publicJwk, ...changed } };
}
