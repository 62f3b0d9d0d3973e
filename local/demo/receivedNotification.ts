import type { IncomingHttpHeaders } from 'node:http';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import * as z from 'zod';

const BodySchema = z.object({ event: z.string(), batch_id: z.string(), status: z.string() }).loose();

export type Notification = {
  receivedAt: string;
  signatureHolds: boolean;
  /** Why it does not hold. */
  problem: string | undefined;
  body: z.infer<typeof BodySchema>;
};

/** Reads what was posted and checks its signature with the reference implementation. Undefined: not a notification. */
export function readNotification(secret: string, headers: IncomingHttpHeaders, body: string): Notification | undefined {
  const parsed = BodySchema.safeParse(parseJson(body));
  if (!parsed.success) return undefined;
  let problem: string | undefined;
  try {
    new Webhook(secret).verify(body, {
      'webhook-id': String(headers['webhook-id'] ?? ''),
      'webhook-timestamp': String(headers['webhook-timestamp'] ?? ''),
      'webhook-signature': String(headers['webhook-signature'] ?? ''),
    });
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    problem = error.message;
  }
  return { receivedAt: new Date().toISOString(), signatureHolds: problem === undefined, problem, body: parsed.data };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
