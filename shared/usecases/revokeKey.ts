import type { ApiKey } from '../domain/apiKey.ts';
import { ApiError } from '../domain/errors.ts';
import { KEY_ID } from '../domain/ids.ts';
import type { Ports } from '../ports.ts';

/** Revokes a key for good; again: the same answer. Throws `not_found`. */
export async function revokeKey(deps: Pick<Ports, 'apiKeys' | 'clock'>, keyId: string): Promise<ApiKey> {
  const result = KEY_ID.test(keyId) ? await deps.apiKeys.revoke(keyId, deps.clock.now()) : 'not_found';
  const key = result === 'not_found' ? undefined : await deps.apiKeys.get(keyId);
  if (key === undefined) throw new ApiError('not_found', `No key ${keyId.slice(0, 64)}.`);
  return key;
}
