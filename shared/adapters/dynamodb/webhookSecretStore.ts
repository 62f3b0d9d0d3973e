import * as z from 'zod';
import type { WebhookSecret } from '../../domain/notifications/signature.ts';
import type { WebhookSecretStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys } from './keys.ts';
import { getRecord, parseRecord, putRecord, updateRecord } from './records.ts';

const WebhookSecretSchema = z.object({
  secret: z.string(),
  createdAt: z.int().nonnegative(),
  previous: z.array(z.object({ secret: z.string(), validUntil: z.int().nonnegative() })).optional(),
});

/** A project's signing secret: made when it is first needed, by whoever is first. */
export function createWebhookSecretStore(table: Table): WebhookSecretStore {
  async function get(projectId: string): Promise<WebhookSecret | undefined> {
    const record = await getRecord(table, keys.webhookSecret(projectId));
    if (!record) return undefined;
    const { previous, ...secret } = parseRecord(WebhookSecretSchema, record);
    return { ...secret, ...(previous && { previous }) };
  }

  return {
    get,

    async getOrCreate(projectId, candidate) {
      const standing = await get(projectId);
      if (standing) return standing;
      if (await putRecord(table, { ...keys.webhookSecret(projectId), ...candidate })) return candidate;
      // Another was first, or this put came twice: what stands is the secret either way.
      const first = await get(projectId);
      if (!first) throw new Error(`The webhook secret of ${projectId} was there and is gone`);
      return first;
    },

    async rotate(projectId, from, next) {
      const rotated = await updateRecord(table, keys.webhookSecret(projectId), (e) => ({
        set: [
          e.equals('secret', next.secret),
          e.equals('createdAt', next.createdAt),
          e.equals('previous', next.previous ?? []),
        ],
        when: e.equals('secret', from.secret),
      }));
      if (rotated) return next;
      // This write's own answer was lost, or another rotation came first: what stands is the secret either way.
      const standing = await get(projectId);
      if (!standing) throw new Error(`The webhook secret of ${projectId} was there and is gone`);
      return standing;
    },
  };
}
