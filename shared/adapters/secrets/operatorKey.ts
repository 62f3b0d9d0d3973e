import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import type { OperatorKey } from '../../ports.ts';
import { cachedSecret } from './cachedSecret.ts';

// A rotated key opens, and the old one closes, within a minute; a check a minute costs next to nothing.
const MAX_AGE_MS = 60_000;

/** The key that operators send in `Users-Management-Key`. */
export function createOperatorKey(options: {
  client: SecretsManagerClient;
  secretArn: string;
  now?: () => number;
}): OperatorKey {
  return { current: cachedSecret({ ...options, maxAgeMs: MAX_AGE_MS }) };
}
