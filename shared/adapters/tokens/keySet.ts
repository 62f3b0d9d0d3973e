import { createPublicKey } from 'node:crypto';
import { createLocalJWKSet, errors, type JWTVerifyGetKey } from 'jose';
import * as z from 'zod';
import { isRecent } from '../../domain/isRecent.ts';
import type { Log } from '../../ports.ts';

/** Older keys are read again before they are used: so long does a key live on that the issuer has withdrawn. */
const FRESH_MS = 10 * 60_000;
/** While the issuer cannot be read, keys that were read go on for this long: an outage of its is none of ours. */
const USABLE_MS = 60 * 60_000;
/** Between two reads while there are keys: tokens that name unknown ones cannot make us hammer the issuer. */
const PAUSE_MS = 30_000;
/** Between two reads while there are none, so that not every request waits for an issuer that does not answer. */
const PAUSE_WITHOUT_KEYS_MS = 5_000;
/** Issuers have two to ten. */
const MAX_KEYS = 100;
const MIN_RSA_BITS = 2048;

/** No keys to judge a token by: nothing can be said about it. */
export class IssuerUnreachable extends Error {
  override readonly name = 'IssuerUnreachable';
}

const Base64url = z.string().regex(/^[\w-]{1,2048}$/);
const about = {
  kid: z.string().exactOptional(),
  use: z.literal('sig').exactOptional(),
  key_ops: z.array(z.string()).exactOptional(),
};
/** Public members alone, of keys that RS256 or ES256 can be verified by. */
const KeySchema = z.discriminatedUnion('kty', [
  z.object({ ...about, kty: z.literal('RSA'), alg: z.literal('RS256').exactOptional(), n: Base64url, e: Base64url }),
  z.object({
    ...about,
    kty: z.literal('EC'),
    crv: z.literal('P-256'),
    alg: z.literal('ES256').exactOptional(),
    x: Base64url,
    y: Base64url,
  }),
]);
const KeySetSchema = z.object({ keys: z.array(z.unknown()).max(MAX_KEYS) });

/**
 * The issuer's keys, as `jwtVerify` asks for them: read when they are first wanted, kept, read again when they are old
 * or when a token names one that is not among them. Throws `IssuerUnreachable`, or jose's `JWKSNoMatchingKey`.
 */
export function createKeySet(options: {
  read: () => Promise<unknown>;
  log: Pick<Log, 'warn'>;
  now: () => number;
}): JWTVerifyGetKey {
  const { read, log, now } = options;
  let kept: { find: JWTVerifyGetKey; readAt: number } | undefined;
  let triedAt: number | undefined;
  let failure: unknown;
  let reading: Promise<void> | undefined;

  const usable = () => (kept && isRecent(kept.readAt, now(), USABLE_MS) ? kept : undefined);
  const mayRead = () =>
    reading !== undefined ||
    triedAt === undefined ||
    !isRecent(triedAt, now(), usable() ? PAUSE_MS : PAUSE_WITHOUT_KEYS_MS);

  /** Callers at the same time share one. */
  function readAnew(): Promise<void> {
    reading ??= tryToRead().finally(() => {
      reading = undefined;
    });
    return reading;
  }

  async function tryToRead(): Promise<void> {
    triedAt = now();
    try {
      kept = { find: createLocalJWKSet({ keys: usableKeys(await read()) }), readAt: now() };
    } catch (error) {
      failure = error;
      log.warn('issuer keys not read', { reason: error instanceof Error ? error.message : 'unknown' });
    }
  }

  return async (header, token) => {
    if ((!kept || !isRecent(kept.readAt, now(), FRESH_MS)) && mayRead()) await readAnew();
    const standing = usable();
    if (!standing) throw new IssuerUnreachable('The keys of the token issuer cannot be read.', { cause: failure });
    try {
      return await standing.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !mayRead()) throw error;
      await readAnew();
      return (usable() ?? standing).find(header, token);
    }
  };
}

/** Keys of other kinds and those that are too weak are left out: a token that names one has no key. */
function usableKeys(document: unknown): z.output<typeof KeySchema>[] {
  const { keys } = KeySetSchema.parse(document);
  const good = keys.flatMap((key) => {
    const { data } = KeySchema.safeParse(key);
    return data && isStrong(data) ? [data] : [];
  });
  if (good.length === 0) throw new Error('The key set has no key that RS256 or ES256 can be verified by.');
  return good;
}

function isStrong(key: z.output<typeof KeySchema>): boolean {
  try {
    const { asymmetricKeyDetails } = createPublicKey({ key, format: 'jwk' });
    return key.kty === 'EC' || (asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS;
  } catch (error) {
    // OpenSSL refuses what is no key at all, such as a point that is not on the curve.
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}
