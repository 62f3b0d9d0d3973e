import type { Ports, WebhookSecret } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';

/** Standard Webhooks asks for 24 to 64 bytes. */
const SECRET_BYTES = 32;

/** The project's signing secret; made at its first use, by whoever comes first. */
export function getWebhookSecret(
  deps: Pick<Ports, 'webhookSecrets' | 'clock' | 'ids'>,
  { projectId }: Pick<ProjectCaller, 'projectId'>,
): Promise<WebhookSecret> {
  return deps.webhookSecrets.getOrCreate(projectId, {
    secret: `whsec_${Buffer.from(deps.ids.secretBytes(SECRET_BYTES)).toString('base64')}`,
    createdAt: deps.clock.now(),
  });
}
