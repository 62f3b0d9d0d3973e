import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { Random } from '../support/random.ts';
import type { Fate } from './lines.ts';

/** What the model knows of one prompt. A batch that repeats another's line asks the same prompt under another key. */
export type Asked = {
  calls: number;
  /** Serial numbers of its answers: each answer is one that was given, and never given twice. */
  serials: Set<number>;
  /** Tries and answers by idempotency key. */
  byKey: Map<string, { calls: number; answers: number }>;
  /** Answers that were none, by what the model did: 4xx for good, everything that is tried again, and of those 429. */
  refusals: number;
  failures: number;
  /** Of those, the ones of an outage: no line's own. */
  outageFailures: number;
  throttles: number;
  /** 2xx with a body that cannot be used, and answers over the limit. */
  garbled: number;
  oversized: number;
};

export const nothingAsked = (): Asked => ({
  calls: 0,
  serials: new Set(),
  byKey: new Map(),
  refusals: 0,
  failures: 0,
  outageFailures: 0,
  throttles: 0,
  garbled: 0,
  oversized: 0,
});

/** What the model tells the checker. */
export type ModelBooks = {
  asked(prompt: string): Asked | undefined;
  readonly totals: { calls: number; answers: number; repeatedAnswers: number };
};

export type SoakModel = Awaited<ReturnType<typeof startModel>>;

/** A server of OpenAI's dialect that does with each prompt what its first word says. */
export async function startModel(random: Random) {
  const asked = new Map<string, Asked>();
  const totals = { calls: 0, answers: 0, repeatedAnswers: 0 };
  let serial = 0;
  let outage: 'none' | 'overloaded' | 'cut' = 'none';

  const server = createServer(async (incoming, response) => {
    // The other side may go away at any time.
    response.on('error', () => {});
    let body: Record<string, unknown>;
    try {
      body = (await json(incoming)) as Record<string, unknown>;
    } catch {
      // A call that was cut off while it was sent: nobody waits for an answer.
      response.destroy();
      return;
    }
    const endpoint = (incoming.url ?? '').replace(/^\/v1\//, '');
    const [fate, prompt] = promptOf(endpoint, body).split(' ', 2) as [Fate, string];
    const known = asked.get(prompt) ?? nothingAsked();
    asked.set(prompt, known);
    const key = String(incoming.headers['idempotency-key'] ?? '');
    const own = known.byKey.get(key) ?? { calls: 0, answers: 0 };
    known.byKey.set(key, own);
    known.calls++;
    own.calls++;
    totals.calls++;

    const answer = () => {
      const number = ++serial;
      known.serials.add(number);
      totals.answers++;
      if (++own.answers > 1) totals.repeatedAnswers++;
      send(response, 200, answerOf(endpoint, prompt, number));
    };
    const refuse = (status: number, headers: Record<string, string> = {}) => {
      if (status === 400) known.refusals++;
      else known.failures++;
      if (status === 429) known.throttles++;
      send(response, status, JSON.stringify({ error: { message: `The script says ${status}` } }), headers);
    };
    const cut = () => {
      known.failures++;
      response.destroy();
    };
    if (outage !== 'none') known.outageFailures++;
    if (outage === 'overloaded') return refuse(503);
    if (outage === 'cut') return cut();
    switch (fate) {
      case 'answered':
        return void setTimeout(answer, random.int(0, 60));
      case 'slow':
        return void setTimeout(answer, random.int(500, 3_000));
      case 'throttled':
        return own.calls <= 2 ? refuse(429, random.chance(0.5) ? { 'retry-after': '1' } : {}) : answer();
      case 'failing_once':
        return own.calls === 1 ? refuse(500) : answer();
      case 'cut_once':
        return own.calls === 1 ? cut() : answer();
      case 'hanging_once':
        if (own.calls > 1) return answer();
        known.failures++;
        return;
      case 'broken':
        return refuse(500);
      case 'hanging':
        known.failures++;
        return;
      case 'garbage':
        known.failures++;
        known.garbled++;
        return send(response, 200, '<html>Welcome</html>');
      case 'refused':
        return refuse(400);
      case 'healing':
        return [...known.byKey.keys()][0] === key ? refuse(400) : answer();
      default:
        // A line that no model is to be asked about; the checker finds it in `asked`.
        return refuse(400);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A TCP server that is listening has an address of this shape.
  const { port } = server.address() as AddressInfo;
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    totals,
    asked: (prompt: string): Asked | undefined => asked.get(prompt),
    setOutage(next: typeof outage) {
      outage = next;
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function send(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
}

export function promptOf(endpoint: string, body: Record<string, unknown>): string {
  switch (endpoint) {
    case 'chat/completions':
      return (body.messages as { content: string }[]).at(-1)?.content ?? '';
    case 'completions':
      return String(body.prompt);
    case 'embeddings':
      return String(Array.isArray(body.input) ? body.input[0] : body.input);
    default:
      return String(body.input);
  }
}

const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };

export function answerOf(endpoint: string, prompt: string, serial: number): string {
  const text = `${prompt} #${serial}`;
  switch (endpoint) {
    case 'chat/completions': {
      const choices = [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }];
      return JSON.stringify({ id: `chat-${serial}`, object: 'chat.completion', model: 'soak', choices, usage: USAGE });
    }
    case 'completions': {
      const choices = [{ index: 0, text, finish_reason: 'stop' }];
      return JSON.stringify({ id: `text-${serial}`, object: 'text_completion', model: 'soak', choices, usage: USAGE });
    }
    case 'responses': {
      const output = [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text }] }];
      return JSON.stringify({ id: `resp-${serial}`, object: 'response', status: 'completed', output });
    }
    default: {
      const data = [{ object: 'embedding', index: 0, embedding: [serial, Number(prompt.split('/')[1])] }];
      return JSON.stringify({ object: 'list', model: 'soak', data, usage: { prompt_tokens: 3, total_tokens: 3 } });
    }
  }
}
