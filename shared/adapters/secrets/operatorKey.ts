import { ResourceNotFoundException, type SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { OperatorKey } from '../../ports.ts';
import { cachedSecret, readSecret } from './cachedSecret.ts';

// A rotated key opens within a minute; a check a minute costs next to nothing.
const MAX_AGE_MS = 60_000;
/** For so long after a rotation the key before it opens as well: time to hand the new one to all who use it. */
const OVERLAP_MS = 24 * 3_600_000;

/**
 * The keys that are taken in `Users-Management-Key`. Secrets Manager keeps the version before as AWSPREVIOUS for ever,
 * so how long it counts goes by the age of the current one.
 */
export function createOperatorKey(options: {
  client: SecretsManagerClient;
  secretArn: string;
  now?: () => number;
}): OperatorKey {
  const { client, secretArn, now = Date.now } = options;

  async function read(): Promise<{ current: string; previous?: { text: string; until: number } }> {
    const { text: current, madeAt } = await readSecret(client, secretArn);
    const until = madeAt + OVERLAP_MS;
    if (now() >= until) return { current };
    const previous = await readPrevious();
    return { current, ...(previous === undefined ? {} : { previous: { text: previous, until } }) };
  }

  async function readPrevious(): Promise<string | undefined> {
    try {
      return (await readSecret(client, secretArn, 'AWSPREVIOUS')).text;
    } catch (error) {
      // There is none: never rotated, or its label was taken off.
      if (error instanceof ResourceNotFoundException) return undefined;
      throw error;
    }
  }

  const keys = cachedSecret({ read, maxAgeMs: MAX_AGE_MS, now });
  return {
    async accepted() {
      const { current, previous } = await keys();
      return previous && now() < previous.until ? [current, previous.text] : [current];
    },
  };
}
