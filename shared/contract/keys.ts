import * as z from 'zod';
import type { ApiKey } from '../domain/apiKey.ts';
import { KEY_ID } from '../domain/ids.ts';
import { ROLES } from '../domain/roles.ts';
import { ProjectId, Time, TimeInput, text, time, timeOrNull, wholeNumber } from './fields.ts';

/** Body of `POST /keys`. */
export const CreateKeyBody = z.strictObject({
  project_id: ProjectId,
  role: z.enum(ROLES),
  name: text(1, 256),
  expires_at: TimeInput.nullable().default(null).describe('When the key stops working; never unless given.'),
});
export type CreateKeyBody = z.output<typeof CreateKeyBody>;

/** Query of `GET /keys`. */
export const ListKeysQuery = z.strictObject({
  take: wholeNumber(1, 100).default(100),
  after: z.string().regex(KEY_ID, { error: 'must be a key id' }).optional(),
  project_id: ProjectId.optional(),
});
export type ListKeysQuery = z.output<typeof ListKeysQuery>;

export const KeyView = z
  .object({
    id: z.string(),
    prefix: z.string().describe('How the key starts, for people.'),
    project_id: z.string(),
    role: z.enum(ROLES),
    name: z.string(),
    created_at: Time,
    expires_at: Time.nullable(),
    revoked_at: Time.nullable(),
  })
  .meta({ id: 'ApiKey' });
export type KeyView = z.output<typeof KeyView>;

export const NewKeyView = KeyView.extend({ key: z.string().describe('Shown this once.') }).meta({ id: 'NewApiKey' });
export const KeyListView = z.object({ keys: z.array(KeyView), has_more: z.boolean() }).meta({ id: 'ApiKeyList' });

export function keyView(key: ApiKey): KeyView {
  return {
    id: key.keyId,
    prefix: key.prefix,
    project_id: key.projectId,
    role: key.role,
    name: key.name,
    created_at: time(key.createdAt),
    expires_at: timeOrNull(key.expiresAt),
    revoked_at: timeOrNull(key.revokedAt),
  };
}
