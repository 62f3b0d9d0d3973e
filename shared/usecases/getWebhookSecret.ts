import { newWebhookSecret, WEBHOOK_SECRET_BYTES, type WebhookSecret } from '../domain/notifications/signature.ts';
import type { Ports } from '../ports.ts';

type Deps = Pick<Ports, 'webhookSecrets' | 'clock' | 'ids'>;

/** The project's signing secret; made at its first use, by whoever comes first. */
export function getWebhookSecret(
  { webhookSecrets, clock, ids }: Deps,
  { projectId }: { projectId: string },
): Promise<WebhookSecret> {
  return webhookSecrets.getOrCreate(projectId, newWebhookSecret(ids.secretBytes(WEBHOOK_SECRET_BYTES), clock.now()));
}
