import { GetSecretValueCommand, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';

/**
 * Reads a secret's text, and again once it is older than `maxAgeMs`, so that a rotated secret is met without a
 * deployment. Callers at the same time share one request; a failed one is not kept.
 */
export function cachedSecret(options: {
  client: SecretsManagerClient;
  secretArn: string;
  maxAgeMs: number;
  now?: () => number;
}): () => Promise<string> {
  const { client, secretArn, maxAgeMs, now = Date.now } = options;
  let cached: { readAt: number; value: Promise<string> } | undefined;

  async function read(): Promise<string> {
    const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId: secretArn }));
    if (!SecretString) throw new Error(`The secret ${secretArn} holds no text.`);
    return SecretString;
  }

  return () => {
    if (cached && now() - cached.readAt < maxAgeMs) return cached.value;
    const mine = { readAt: now(), value: read() };
    cached = mine;
    mine.value.catch(() => {
      if (cached === mine) cached = undefined;
    });
    return mine.value;
  };
}
