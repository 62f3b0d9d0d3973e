import assert from 'node:assert/strict';
import { createTokenVerifier } from '../../../shared/adapters/tokens/tokenVerifier.ts';
import { API_KEY_PREFIX } from '../../../shared/domain/apiKey.ts';
import { ApiError } from '../../../shared/domain/errors.ts';
import { authenticate, authenticateOperator, hashOfKey } from '../../../shared/usecases/authenticate.ts';
import { recordedLog } from '../../support/recordedLog.ts';
import { startTokenIssuer } from '../../support/tokenIssuer.ts';
import type { Target } from '../target.ts';

const NOW = Date.parse('2026-01-15T10:30:00.000Z');
const API_KEY = `${API_KEY_PREFIX}${'k'.repeat(43)}`;
const OPERATOR_KEY = 'o'.repeat(64);

/**
 * What callers say they are, in both headers. In an input `JWT_RS256` and `JWT_ES256` stand for good tokens, so that what
 * is changed around them, or of them, is tried; the keys stand there as they are. Only a good one opens.
 */
export async function tokens(): Promise<Target> {
  const issuer = await startTokenIssuer();
  const claims = issuer.claimsOf({}, NOW);
  const good = {
    JWT_RS256: await issuer.sign({ claims }),
    JWT_ES256: await issuer.sign({ claims, key: issuer.keys.ES256 }),
  };
  const read = async () => ({ keys: [issuer.keys.RS256.publicJwk, issuer.keys.ES256.publicJwk] });
  const verifier = createTokenVerifier({ tokens: issuer.tokens, read, log: recordedLog(), now: () => NOW });
  const record = {
    keyId: 'key_1',
    hash: hashOfKey(API_KEY),
    prefix: 'plai_kkk',
    projectId: 'acme',
    role: 'owner',
  } as const;
  const deps = {
    tokens: verifier,
    clock: { now: () => NOW, sleep: async () => undefined },
    // Just what is asked of it.
    apiKeys: {
      findByHash: async (hash: string) => (hash === record.hash ? { ...record, name: 'k', createdAt: NOW } : undefined),
    } as Parameters<typeof authenticate>[0]['apiKeys'],
    operatorKey: { accepted: async () => [OPERATOR_KEY] },
  };
  const opens = new Set([API_KEY, ...Object.values(good)]);

  return {
    large: () => [
      Buffer.from(`Bearer ${'a'.repeat(1024 * 1024)}`),
      Buffer.from(`Bearer ${'.'.repeat(100_000)}`),
      Buffer.from(`Bearer ${jwtOf({ alg: 'none' }, claims)}`),
      Buffer.from(`Bearer ${jwtOf({ alg: 'RS256', kid: 'rsa-1' }, `${'{"a":'.repeat(1_000)}`)}`),
      Buffer.from(`Bearer ${jwtOf({ alg: 'HS256', kid: 'rsa-1', __proto__: { alg: 'none' } }, claims)}`),
      ...Object.values(good).map((token) => Buffer.from(`Bearer ${token}`)),
    ],
    async check(input) {
      const header = input
        .toString('latin1')
        .replaceAll(/JWT_[RE]S256/g, (name) => good[name as keyof typeof good] ?? name);
      const caller = await authenticate(deps, header).catch(refused);
      const token = /^bearer +(\S+) *$/i.exec(header)?.[1];
      if (caller) {
        assert(token !== undefined && [...opens].some((each) => sameToken(each, token)), 'a token opens that is none');
        assert.deepEqual(caller, { projectId: 'acme', role: 'owner' });
      } else assert(token === undefined || !opens.has(token), 'a good token does not open');
      const isOperator = await authenticateOperator(deps, header).then(() => true, refused);
      assert.equal(isOperator === true, header === OPERATOR_KEY);
      return isOperator ? 'operator' : caller ? 'project' : 'refused';
    },
    close: () => issuer.close(),
  };
}

function refused(error: unknown): undefined {
  assert(error instanceof ApiError && error.error === 'unauthorized', `not a 401: ${error}`);
  return undefined;
}

/** Base64url has bits at its end that say nothing: two texts may be the same token. */
function sameToken(good: string, token: string): boolean {
  const parts = (text: string) => text.split('.').map((part) => Buffer.from(part, 'base64url').toString('hex'));
  return good === token || (good.includes('.') && parts(good).join() === parts(token).join());
}

function jwtOf(header: object, payload: object | string): string {
  const part = (value: object | string) =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  return `${part(header)}.${part(payload)}.AAAA`;
}
