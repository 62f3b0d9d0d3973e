import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { cachedSecret, readSecret } from './cachedSecret.ts';

/** API keys of the model providers, by the provider's name in `models.json`. */
export type ModelKeys = {
  /** Undefined for a provider that has no secret. `refused`: the key that the provider did not take. */
  get(provider: string, refused?: string): Promise<string | undefined>;
};

// A worker runs for up to 15 minutes and would otherwise ask for each call; a rotated key is met within five.
const MAX_AGE_MS = 5 * 60_000;

/** `secretArns`: provider → ARN of the secret that holds its key as text. */
export function createModelKeys(options: {
  client: SecretsManagerClient;
  secretArns: Record<string, string>;
  now?: () => number;
}): ModelKeys {
  const { client, secretArns, ...rest } = options;
  const keys = new Map(
    Object.entries(secretArns).map(([provider, secretArn]) => [
      provider,
      cachedSecret({ ...rest, read: async () => (await readSecret(client, secretArn)).text, maxAgeMs: MAX_AGE_MS }),
    ]),
  );
  return { get: async (provider, refused) => keys.get(provider)?.(refused) };
}
