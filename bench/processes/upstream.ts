import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerQuestions } from './benchProcess.ts';

/**
 * The model: an HTTP server that answers every call alike, under `/instant` at once and under `/delayed` after its first
 * argument in milliseconds. It reads what it is sent and does nothing with it.
 */
const delayMs = Number(process.argv[2] ?? 0);

/** As OpenAI answers: some 1 KB of JSON, of which 600 bytes are the answer. */
const ANSWER = Buffer.from(
  JSON.stringify({
    id: 'chatcmpl-0123456789abcdefghijklmnopqr',
    object: 'chat.completion',
    created: 1_760_000_000,
    model: 'bench-model-2026-01-15',
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content:
            'The kettle is made of brushed steel and holds 1.7 litres, enough for a family or a small office. It boils in four minutes, keeps its water warm for an hour, and pours without a drip. '
              .repeat(4)
              .slice(0, 600),
          refusal: null,
          annotations: [],
        },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: {
      prompt_tokens: 231,
      completion_tokens: 128,
      total_tokens: 359,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
    },
    service_tier: 'default',
    system_fingerprint: 'fp_0123456789',
  }),
);
const HEAD = { 'content-type': 'application/json', 'content-length': String(ANSWER.length) };

export type UpstreamQuestion = 'port' | 'forget' | 'first call';
/** A port; or when the first call since `forget` came in, in milliseconds since the epoch, 0 where none did. */
export type UpstreamAnswer = number;

let firstCallMs = 0;
const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  if (firstCallMs === 0) firstCallMs = performance.timeOrigin + performance.now();
  const answer = () => response.writeHead(200, HEAD).end(ANSWER);
  request.on('end', () => {
    if (request.url?.startsWith('/delayed')) setTimeout(answer, delayMs);
    else answer();
  });
  request.resume();
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

answerQuestions<UpstreamQuestion, UpstreamAnswer>(async (question) => {
  if (question === 'port') return (server.address() as AddressInfo).port; // a TCP server that listens has a port
  if (question === 'forget') firstCallMs = 0;
  return firstCallMs;
});
