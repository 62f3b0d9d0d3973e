import { createHmac } from 'node:crypto';

/** A project's signing secret; the `previous` ones, newest first, sign beside it for a while after a rotation. */
export type WebhookSecret = {
  secret: string;
  createdAt: number;
  previous?: { secret: string; validUntil: number }[];
};

/** After a rotation the old secret signs on for a day (CONTRACT "Routes"). */
const OVERLAP_MS = 24 * 3_600_000;
/** Signatures in one header: a secret rotated away more often than that within a day is no longer signed with. */
const MAX_PREVIOUS = 10;

/** `next` in the place of `current`, which signs on for a day. */
export function rotatedSecret(current: WebhookSecret, next: WebhookSecret, now: number): WebhookSecret {
  const previous = [{ secret: current.secret, validUntil: now + OVERLAP_MS }, ...(current.previous ?? [])];
  return { ...next, previous: previous.filter(({ validUntil }) => now < validUntil).slice(0, MAX_PREVIOUS) };
}

/** Standard Webhooks: `whsec_` and the base64 of 24–64 bytes. */
export const WEBHOOK_SECRET_BYTES = 32;
const SECRET_PREFIX = 'whsec_';

export function newWebhookSecret(bytes: Uint8Array, now: number): WebhookSecret {
  return { secret: `${SECRET_PREFIX}${Buffer.from(bytes).toString('base64')}`, createdAt: now };
}

/** The secrets that sign at `now`: the newest first, and those before it for as long as they are valid. */
export function signingSecrets({ secret, previous = [] }: WebhookSecret, now: number): string[] {
  return [secret, ...previous.filter(({ validUntil }) => now < validUntil).map((older) => older.secret)];
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
