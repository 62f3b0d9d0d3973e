import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/**
 * Texts that stand for what a client trusts the product with. The builders that e2e tests share put them into prompts,
 * answers, URLs and keys, and take them out again where a test compares; the logs and histories of every local run of a
 * test file are searched for them when it is through.
 */
export const CANARIES = {
  prompt: 'canary-prompt-5e1f',
  answer: 'canary-answer-b07c',
  /** As a receiver's secret in its URL. */
  callback: 'canary-callback-93da',
  modelKey: 'canary-model-key-44c2',
  batchName: 'canary-name-d8e6',
  /** As in a URL that S3 has signed. */
  signature: 'canary-signature-1c9b',
} as const;

/** Behind a client's own URLs: what a pre-signed one has. */
export const SIGNED_QUERY = `X-Amz-Credential=${CANARIES.signature}&X-Amz-Security-Token=${CANARIES.signature}&X-Amz-Signature=${CANARIES.signature}`;

/** None of it belongs into a log line or a history, planted or not. */
const FORBIDDEN: Record<string, RegExp> = {
  'a canary': /canary-[\w-]+/i,
  'a signed URL': /X-Amz-(Signature|Credential|Security-Token)/i,
  'an API key': /plai_[\w-]{10,}/,
  'a webhook secret': /whsec_[\w+/=]{20,}/,
  'a webhook signature': /v1,[\w+/]{43}=/,
  'a token (JWT)': /eyJ[\w-]{10,}\.[\w-]{10,}\./,
  'an authorization': /Bearer [\w.-]{8,}|AWS4-HMAC-SHA256/,
};

/** Puts the prompt's canary in front of every prompt of the JSON Lines. */
export function withCanaries(lines: string): string {
  return lines.replaceAll('"input":"', `"input":"${CANARIES.prompt} `);
}

/** Puts the answer's canary in front of what a model says, well or not. */
export function answerWithCanary(body: string): string {
  if (!body.startsWith('{')) return `${CANARIES.answer} ${body}`;
  return body.replaceAll(/"(content|message)":"/g, `"$1":"${CANARIES.answer} `);
}

/** As if none had been put in. */
export function withoutCanaries(text: string): string {
  return text.replaceAll(`${CANARIES.prompt} `, '').replaceAll(`${CANARIES.answer} `, '');
}

/** What of it is found in the text, each with a little of what stands around it. */
export function leaksIn(text: string, where: string, secrets: readonly string[] = []): string[] {
  const found = Object.entries(FORBIDDEN).flatMap(([what, pattern]) => {
    const at = text.search(pattern);
    return at < 0 ? [] : [`${where} holds ${what}: ${text.slice(Math.max(0, at - 200), at + 100)}`];
  });
  const known = secrets.filter((secret) => text.includes(secret)).map(() => `${where} holds a key of the run`);
  return [...found, ...known];
}

/** Searches what a local run has left in its folder: its functions' logs, and its executions from input to cause. */
export function leaksInFolder(dataDir: string): string[] {
  const secrets = keysOf(dataDir);
  const logs = globSync('logs/*', { cwd: dataDir }).flatMap((name) =>
    leaksIn(readFileSync(join(dataDir, name), 'utf8'), name, secrets),
  );
  const executions = globSync('stepfunctions/executions.db', { cwd: dataDir }).flatMap((name) => {
    const database = new DatabaseSync(join(dataDir, name), { readOnly: true });
    const rows = database.prepare('SELECT name, input, output, error, cause FROM executions').all();
    database.close();
    return rows.flatMap((row) => leaksIn(JSON.stringify(row), `the execution ${row.name}`, secrets));
  });
  return [...logs, ...executions];
}

/** The keys that a run made for itself, which look like nothing in particular. */
function keysOf(dataDir: string): string[] {
  const read = (name: string) =>
    globSync(name, { cwd: dataDir }).map((path) => JSON.parse(readFileSync(join(dataDir, path), 'utf8')));
  return [
    ...read('credentials.json').map(({ secretAccessKey }: { secretAccessKey: string }) => secretAccessKey),
    ...read('api-key.json').map(({ apiKey }: { apiKey: string }) => apiKey),
    ...read('secrets/secrets.json').flatMap((kept: Record<string, { value: string }>) =>
      Object.values(kept).map(({ value }) => value),
    ),
  ];
}
