import { createHash, timingSafeEqual } from 'node:crypto';
import { API_KEY_PREFIX } from '../domain/apiKey.ts';
import { ApiError } from '../domain/errors.ts';
import type { Role } from '../domain/roles.ts';
import type { Ports } from '../ports.ts';

/** Whom a project's route answers. */
export type ProjectCaller = { projectId: string; role: Role };

export const hashOfKey = (key: string) => createHash('sha256').update(key).digest('hex');

// One sentence for every reason: which of them it was is nobody's business but the owner's.
const INVALID = 'The token is missing, invalid, expired or revoked.';
const unauthorized = (message: string, headers: Record<string, string> = {}) =>
  new ApiError('unauthorized', message, { headers });

/**
 * Who sent `Authorization: Bearer <token>`: an API key by its prefix, any other token by the verifier, where there is
 * one. Throws `unauthorized`.
 */
export async function authenticate(
  deps: Pick<Ports, 'apiKeys' | 'clock'> & Partial<Pick<Ports, 'tokens'>>,
  authorization: string | undefined,
): Promise<ProjectCaller> {
  const token = /^Bearer +([\x21-\x7e]+) *$/i.exec(authorization ?? '')?.[1];
  const caller = token === undefined ? undefined : await callerOf(deps, token);
  if (caller === undefined) throw unauthorized(INVALID, { 'WWW-Authenticate': 'Bearer' });
  return caller;
}

async function callerOf(
  { apiKeys, clock, tokens }: Parameters<typeof authenticate>[0],
  token: string,
): Promise<ProjectCaller | undefined> {
  if (!token.startsWith(API_KEY_PREFIX)) return tokens?.verify(token);
  const key = await apiKeys.findByHash(hashOfKey(token));
  if (key === undefined || key.revokedAt !== undefined) return undefined;
  if (key.expiresAt !== undefined && key.expiresAt <= clock.now()) return undefined;
  return { projectId: key.projectId, role: key.role };
}

/** Passes if `presented` is an accepted key of the operator's; else throws `unauthorized`. */
export async function authenticateOperator(
  { operatorKey }: Pick<Ports, 'operatorKey'>,
  presented: string | undefined,
): Promise<void> {
  if (presented !== undefined) {
    // All of them, whether or not the first one matches.
    const matches = (await operatorKey.accepted()).filter((accepted) => isSame(presented, accepted));
    if (matches.length > 0) return;
  }
  throw unauthorized('The Users-Management-Key is missing or wrong.');
}

/** In constant time: digests have one length, whatever was presented. */
function isSame(presented: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(presented), digest(expected));
}
