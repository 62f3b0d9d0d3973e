import type { Role } from './roles.ts';

/** An API key as it is kept: the key itself is shown once and kept nowhere. */
export type ApiKey = {
  keyId: string;
  /** SHA-256 of the key, hex. */
  hash: string;
  /** The first characters, for people. */
  prefix: string;
  projectId: string;
  role: Role;
  name: string;
  /** Milliseconds since the epoch, as the two below. */
  createdAt: number;
  expiresAt?: number;
  revokedAt?: number;
};

/** What tells an API key from any other bearer token. */
export const API_KEY_PREFIX = 'plai_';
