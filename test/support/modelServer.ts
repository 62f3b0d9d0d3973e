import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { answerWithCanary, withoutCanaries } from './canaries.ts';

export type ModelRequest = {
  path: string;
  /** As it came, and parsed. */
  text: string;
  body: Record<string, unknown>;
  idempotencyKey: string;
  attempt: number;
};
export type ModelReply = {
  status: number;
  /** Chunks, where the answer is to come in pieces, or without end. */
  body: string | AsyncIterable<string>;
  headers?: Record<string, string>;
  afterMs?: number;
};

/** An OpenAI-compatible server that a test scripts: real HTTP, an answer made by `reply`, which may take its time. */
export async function startModelServer(reply: (request: ModelRequest) => ModelReply | Promise<ModelReply>) {
  const attempts = new Map<string, number>();
  const requests: ModelRequest[] = [];
  const server = createServer(async (incoming, response) => {
    const text = await readText(incoming);
    const body = JSON.parse(text) as Record<string, unknown>;
    const idempotencyKey = String(incoming.headers['idempotency-key'] ?? '');
    const attempt = (attempts.get(idempotencyKey) ?? 0) + 1;
    attempts.set(idempotencyKey, attempt);
    const request = { path: incoming.url ?? '', text, body, idempotencyKey, attempt };
    requests.push(request);
    const { status, body: answer, headers = {}, afterMs = 0 } = await reply(request);
    setTimeout(() => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      if (typeof answer === 'string') response.end(answerWithCanary(answer));
      // Whoever has read enough of it closes the connection.
      else pipeline(answer, response, () => undefined);
    }, afterMs);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    requests,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

async function readText(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** The text of the last message of a chat call, without its canary. */
export function promptOf({ body }: ModelRequest): string {
  const messages = body.messages as { content: string | { text?: string }[] }[];
  const content = messages.at(-1)?.content ?? '';
  // Of a message with documents, the part that is text.
  const text = typeof content === 'string' ? content : content.find((part) => part.text !== undefined)?.text;
  return withoutCanaries(text ?? '');
}

export const chatAnswer = (text: string): string =>
  JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    model: 'test-model',
    choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
  });

/** A models file for one test. */
export function writeModels(models: Record<string, unknown>): string {
  const path = join(mkdtempSync(join(tmpdir(), 'batch-api-models-')), 'models.json');
  writeFileSync(path, JSON.stringify(models));
  return path;
}
