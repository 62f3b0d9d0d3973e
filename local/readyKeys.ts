import * as z from 'zod';
import type { DataFolder } from './dataFolder.ts';

/** The project that the ready-made API key belongs to. */
export const PROJECT_ID = 'proj_local';

const NewKey = z.object({ key: z.string() });
const WebhookSecret = z.object({ secret: z.string() });

async function call(url: string, init: RequestInit): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(url, init);
  const text = await answer.text();
  return { status: answer.status, body: answer.ok ? JSON.parse(text) : text };
}

/**
 * The API key that the local run hands out, made through the API itself on the first start and kept in the data
 * folder; and the project's webhook secret.
 */
export async function getReadyKeys(
  url: string,
  operatorKey: string,
  folder: DataFolder,
): Promise<{ apiKey: string; webhookSecret: string }> {
  let apiKey = folder.apiKey.read()?.apiKey;
  for (const mayMake of [true, false]) {
    apiKey ??= await makeKey(url, operatorKey, folder);
    const { status, body } = await call(`${url}/webhooks/secret`, { headers: { authorization: `Bearer ${apiKey}` } });
    if (status === 200) return { apiKey, webhookSecret: WebhookSecret.parse(body).secret };
    // Revoked since the last start: a new one is made.
    if (status !== 401 || !mayMake) throw new Error(`GET /webhooks/secret answered ${status}: ${body}`);
    apiKey = undefined;
  }
  throw new Error('No API key could be made');
}

async function makeKey(url: string, operatorKey: string, folder: DataFolder): Promise<string> {
  const { status, body } = await call(`${url}/keys`, {
    method: 'POST',
    headers: { 'users-management-key': operatorKey, 'content-type': 'application/json' },
    body: JSON.stringify({ project_id: PROJECT_ID, role: 'admin', name: 'local run' }),
  });
  if (status !== 201) throw new Error(`POST /keys answered ${status}: ${body}`);
  const apiKey = NewKey.parse(body).key;
  folder.apiKey.write({ apiKey });
  return apiKey;
}
