import {
  newWebhookSecret,
  rotatedSecret,
  WEBHOOK_SECRET_BYTES,
  type WebhookSecret,
} from '../domain/notifications/signature.ts';
import type { Ports } from '../ports.ts';
import { getWebhookSecret } from './getWebhookSecret.ts';

type Deps = Pick<Ports, 'webhookSecrets' | 'clock' | 'ids'>;

/** A new signing secret for the project; the one before it signs on for 24 hours. Two at once make one. */
export async function rotateWebhookSecret(deps: Deps, caller: { projectId: string }): Promise<WebhookSecret> {
  const { webhookSecrets, clock, ids } = deps;
  const current = await getWebhookSecret(deps, caller);
  const now = clock.now();
  const next = newWebhookSecret(ids.secretBytes(WEBHOOK_SECRET_BYTES), now);
  return await webhookSecrets.rotate(caller.projectId, current, rotatedSecret(current, next, now));
}
