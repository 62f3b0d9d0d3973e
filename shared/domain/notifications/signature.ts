import { createHmac } from 'node:crypto';

/** A project's signing secret; `previous` signs beside it for a while after a rotation. */
export type WebhookSecret = { secret: string; createdAt: number; previous?: { secret: string; validUntil: number } };

/** Standard Webhooks: `whsec_` and the base64 of 24–64 bytes. */
export const WEBHOOK_SECRET_BYTES = 32;
const SECRET_PREFIX = 'whsec_';

export function newWebhookSecret(bytes: Uint8Array, now: number): WebhookSecret {
  return { secret: `${SECRET_PREFIX}${Buffer.from(bytes).toString('base64')}`, createdAt: now };
}

/** The secrets that sign at `now`: the newest first, and the one before it for as long as it is valid. */
export function signingSecrets({ secret, previous }: WebhookSecret, now: number): string[] {
  return previous && now < previous.validUntil ? [secret, previous.secret] : [secret];
}

export type SignedMessage = { id: string; timestampSeconds: number; body: string };

/** `webhook-id`, `webhook-timestamp` and `webhook-signature`: one signature a secret, separated by spaces. */
export function signatureHeaders(message: SignedMessage, secrets: readonly string[]): Record<string, string> {
  const timestamp = String(message.timestampSeconds);
  const signed = `${message.id}.${timestamp}.${message.body}`;
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
    return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
  });
  return { 'webhook-id': message.id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}
