import { GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

/** One that is refused is read again, but not more often than this: it may well be the wrong one. */
const MIN_AGE_MS = 10_000;

/**
 * Reads a secret's text, and again once it is older than `maxAgeMs`, so that a rotated secret is met without a
 * deployment; or sooner where the text is `refused`. Callers at the same time share one request; a failed one is not
 * kept.
 */
export function cachedSecret(options: {
  client: SecretsManagerClient;
  secretArn: string;
  maxAgeMs: number;
  now?: () => number;
}): (refused?: string) => Promise<string> {
  const { client, secretArn, maxAgeMs, now = Date.now } = options;
  let cached: { readAt: number; value: Promise<string> } | undefined;

  async function read(): Promise<string> {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: secretArn }));
    if (!SecretString) throw new Error(`The secret ${secretArn} holds no text.`);
    return SecretString;
  }

  function readAnew(): Promise<string> {
    const mine = { readAt: now(), value: read() };
    cached = mine;
    mine.value.catch(() => {
      if (cached === mine) cached = undefined;
    });
    return mine.value;
  }

  return async (refused) => {
    const standing = cached;
    if (!standing || now() - standing.readAt >= maxAgeMs) return readAnew();
    if (refused === undefined || (await standing.value) !== refused) return standing.value;
    // Others may have read it again meanwhile.
    if (cached && cached !== standing) return cached.value;
    return now() - standing.readAt < MIN_AGE_MS ? refused : readAnew();
  };
}
