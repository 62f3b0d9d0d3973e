import type { CreateKeyBody } from '../contract/keys.ts';
import { API_KEY_PREFIX, type ApiKey } from '../domain/apiKey.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import { hashOfKey } from './authenticate.ts';

/** 256 bits: nobody guesses one, so a plain hash keeps it. */
const KEY_BYTES = 32;
const SHOWN_CHARACTERS = API_KEY_PREFIX.length + 6;

/** Makes an API key. The answer is the only place where the key itself ever stands. */
export async function createKey(
  deps: Pick<Ports, 'apiKeys' | 'clock' | 'ids'>,
  body: CreateKeyBody,
): Promise<{ key: ApiKey; secret: string }> {
  const now = deps.clock.now();
  const expiresAt = body.expires_at === null ? undefined : Date.parse(body.expires_at);
  if (expiresAt !== undefined && expiresAt <= now)
    throw new ApiError('invalid_request', 'The request is not valid: see expires_at.', {
      details: [{ param: 'expires_at', message: 'must be in the future' }],
    });
  const secret = `${API_KEY_PREFIX}${Buffer.from(deps.ids.secretBytes(KEY_BYTES)).toString('base64url')}`;
  const key: ApiKey = {
    keyId: `key_${deps.ids.ulid()}`,
    hash: hashOfKey(secret),
    prefix: secret.slice(0, SHOWN_CHARACTERS),
    projectId: body.project_id,
    role: body.role,
    name: body.name,
    createdAt: now,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
  await deps.apiKeys.put(key);
  return { key, secret };
}
