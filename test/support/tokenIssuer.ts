import { createPublicKey } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import type { TokenSettings } from '../../shared/contract/tokenSettings.ts';
import { startWebServer } from './webServer.ts';

type Algorithm = 'RS256' | 'ES256';
export type IssuerKey = { kid: string; alg: string; privateKey: CryptoKey; publicJwk: JWK };
type Signed = { claims?: JWTPayload; key?: IssuerKey; header?: Record<string, unknown> };

export async function makeIssuerKey(alg: string, kid: string, options: { modulusLength?: number } = {}) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true, ...options });
  const publicJwk: JWK = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  return { kid, alg, privateKey, publicJwk } satisfies IssuerKey;
}

/**
 * An identity provider on a loopback port: signs tokens with real keys and shows its key set over HTTP. `keys` and
 * `answer` may be changed at any time.
 */
export async function startTokenIssuer() {
  const keys: Record<Algorithm, IssuerKey> & { next?: IssuerKey } = {
    RS256: await makeIssuerKey('RS256', 'rsa-1'),
    ES256: await makeIssuerKey('ES256', 'ec-1'),
  };
  const issuer = {
    keys,
    /** What it answers instead of its keys. */
    answer: undefined as { status: number; body: string; headers?: Record<string, string> } | undefined,
  };
  const server = await startWebServer((_, response) => {
    const whole = JSON.stringify({ keys: Object.values(issuer.keys).map(({ publicJwk }) => publicJwk) });
    const { status, body, headers = {} } = issuer.answer ?? { status: 200, body: whole };
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
  });
  const tokens: TokenSettings = {
    issuer: 'https://issuer.example/',
    jwksUrl: `${server.url}/.well-known/jwks.json`,
    audience: 'batch-api',
    projectClaim: 'https://acme.example/project',
    roleClaim: 'role',
  };

  /** The claims of a good token, of an owner of `acme`, but for those that are given; `undefined` leaves one out. */
  function claimsOf(changed: JWTPayload = {}, nowMs = Date.now()): JWTPayload {
    const now = Math.floor(nowMs / 1000);
    const good = { iss: tokens.issuer, aud: tokens.audience, iat: now, nbf: now, exp: now + 600, sub: 'user-1' };
    const claims = { ...good, [tokens.projectClaim]: 'acme', [tokens.roleClaim]: 'owner', ...changed };
    return JSON.parse(JSON.stringify(claims)) as JWTPayload;
  }

  function sign({ claims = claimsOf(), key = issuer.keys.RS256, header = {} }: Signed = {}): Promise<string> {
    return new SignJWT(claims)
      .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
      .sign(key.privateKey, { crit: { 'urn:x': true } });
  }

  /** Tokens that are none, each in a way of its own. */
  async function forgeries(claims: JWTPayload = claimsOf()): Promise<Record<string, string>> {
    const { RS256, ES256 } = issuer.keys;
    const stranger = await makeIssuerKey('RS256', RS256.kid);
    const strangerEc = await makeIssuerKey('ES256', ES256.kid);
    const good = await sign({ claims });
    const [header = '', payload = '', signature = ''] = good.split('.');
    const pem = createPublicKey({ key: RS256.publicJwk as never, format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    });
    const asSecret = (secret: string | Buffer) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: RS256.kid }).sign(Buffer.from(secret));
    const text = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    return {
      'signed by another RSA key under a kid of the issuer': await sign({ claims, key: stranger }),
      'signed by another EC key under a kid of the issuer': await sign({ claims, key: strangerEc }),
      'signed by a key that the issuer does not have': await sign({ claims, key: { ...stranger, kid: 'nobody' } }),
      'signed by the EC key, naming the RSA key': await sign({ claims, key: ES256, header: { kid: RS256.kid } }),
      'that brings its own key along': await sign({
        claims,
        key: { ...stranger, kid: 'own' },
        header: { jwk: stranger.publicJwk, jku: 'http://127.0.0.1:9/jwks.json' },
      }),
      'without a signature (none)': new UnsecuredJWT(claims).encode(),
      'without a signature, under a kid of the issuer': `${text({ alg: 'none', kid: RS256.kid })}.${payload}.`,
      'none in another spelling': `${text({ alg: 'nOnE', kid: RS256.kid })}.${payload}.`,
      'HS256 with the public key in PEM as its secret': await asSecret(pem),
      'HS256 with the public modulus as its secret': await asSecret(Buffer.from(RS256.publicJwk.n ?? '', 'base64url')),
      'RS512 of the right key': await sign({ claims, key: await asAlgorithm(RS256, 'RS512') }),
      'PS256 of the right key': await sign({ claims, key: await asAlgorithm(RS256, 'PS256') }),
      'with another payload under the signature': `${header}.${text({ ...claims, sub: 'somebody-else' })}.${signature}`,
      'with another header over the signature': `${text({ alg: 'ES256', kid: ES256.kid })}.${payload}.${signature}`,
      'cut off': good.slice(0, -20),
      'whose signature is left out': `${header}.${payload}.`,
      'for another audience': await sign({ claims: { ...claims, aud: 'another-api' } }),
      'of another issuer': await sign({ claims: { ...claims, iss: 'https://issuer.example' } }),
      'not good yet': await sign({ claims: { ...claims, nbf: (claims.iat ?? 0) + 3600 } }),
      'with an extension that must be understood': await sign({ claims, header: { crit: ['urn:x'], 'urn:x': 1 } }),
      'of five parts': `${good}.${signature}.${signature}`,
    };
  }

  return Object.assign(issuer, {
    tokens,
    claimsOf,
    sign,
    forgeries,
    /** How often its keys were asked for. */
    asked: () => server.requests.length,
    async rotate(kid: string) {
      issuer.keys = { ...issuer.keys, RS256: await makeIssuerKey('RS256', kid) };
    },
    close: () => server.close(),
  });
}
export type TokenIssuer = Awaited<ReturnType<typeof startTokenIssuer>>;

/** The same private key for an algorithm that is not ours. */
async function asAlgorithm(key: IssuerKey, alg: 'RS512' | 'PS256'): Promise<IssuerKey> {
  const jwk = await crypto.subtle.exportKey('jwk', key.privateKey);
  const { alg: _, key_ops: __, ...material } = jwk;
  const name = alg === 'PS256' ? 'RSA-PSS' : 'RSASSA-PKCS1-v1_5';
  const hash = alg === 'PS256' ? 'SHA-256' : 'SHA-512';
  const privateKey = await crypto.subtle.importKey('jwk', material, { name, hash }, true, ['sign']);
  return { ...key, alg, privateKey };
}
