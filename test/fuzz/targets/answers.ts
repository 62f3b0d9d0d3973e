import assert from 'node:assert/strict';
import { LINE_ERROR_CODES } from '../../../shared/domain/errors.ts';
import { LineReader } from '../../../shared/domain/lines/lineReader.ts';
import { decodeSegmentLine, encodeSegment, segmentEntry } from '../../../shared/domain/lines/segment.ts';
import type { ModelProvider } from '../../../shared/ports.ts';
import { createOpenAiProvider } from '../../../shared/providers/openai.ts';
import { callLine } from '../../../shared/usecases/runShard/callLine.ts';
import {
  answeredResult,
  failedCallResult,
  type LineResult,
  prepareLine,
} from '../../../shared/usecases/runShard/prepareLine.ts';
import { startWebServer } from '../../support/webServer.ts';
import { member, parseJson } from '../json.ts';
import type { Target } from '../run.ts';
import { SEED_LINES } from './lines.ts';
import { models } from './models.ts';

const MAX_ANSWER_BYTES = 1_500_000;
const STATUSES = [200, 200, 200, 200, 201, 299, 400, 401, 404, 418, 429, 500, 503, 599];
const CONTENT_TYPES = ['application/json', 'text/html', 'application/json; charset=utf-16', ''];

/** The input's first bytes choose status, content type and line; the rest is the answer's body. */
const HEAD_BYTES = 3;
const answer = (body: string, head = '\0\0\0') => Buffer.from(head + body);
const chat = (content: string, more = '') => `{"id":"c\\ud800","choices":[{"message":{"content":${content}}}]${more}}`;

const asked = SEED_LINES.flatMap((text) => {
  const content = Buffer.from(text);
  const physical = { line: 1, start: 0, end: content.length, terminated: true, content };
  return (['COMPLETIONS', 'EMBEDDINGS'] as const).flatMap((type) => {
    const context = { type, models, maxLineBytes: MAX_ANSWER_BYTES, batchId: 'batch_1', firstLine: 1 };
    const prepared = prepareLine(physical, context, { attempts: 0, answerBytes: () => 0 });
    return prepared.kind === 'call' ? [prepared.line] : [];
  });
});
const agentAt = (wanted: string) =>
  String.fromCharCode(asked.findIndex(({ request }) => request.kind === 'agent' && request.agentId === wanted));

let sent: { status: number; type: string; body: Buffer };
let provider: ModelProvider;
let closeServer: () => Promise<unknown>;

async function check(input: Buffer): Promise<void> {
  const at = (place: number) => input[place] ?? 0;
  const line = asked[at(2) % asked.length];
  if (!line) assert.fail('no line is asked');
  const body = input.subarray(HEAD_BYTES);
  const status = STATUSES[at(0) % STATUSES.length] ?? 200;
  sent = { status, type: CONTENT_TYPES[at(1) % CONTENT_TYPES.length] ?? '', body };

  let complaint: unknown;
  const log = { about() {}, debug() {}, info() {}, warn: complain, error: complain };
  function complain(message: string, fields?: object) {
    complaint = { message, ...fields };
  }
  const signal = new AbortController().signal;
  const result = await callLine({ log, models, providers: { get: () => provider } }, line, {
    timeoutMs: 60_000,
    maxAnswerBytes: MAX_ANSWER_BYTES,
    signal,
  });
  assert.equal(complaint, undefined);
  if (result.kind === 'called_off') assert.fail('nobody called it off');
  const { customId } = line.request;
  const made: LineResult =
    result.kind === 'answered'
      ? answeredResult('batch_1', 1, customId, result.statusCode, result.body)
      : failedCallResult('batch_1', line, result.failure);

  const segment = encodeSegment([segmentEntry(made.line, made.file, made.json.join(''))]);
  const reader = new LineReader({ maxLineBytes: 2 * segment.length });
  const lines = [...reader.push(segment), ...reader.end()];
  const content = lines[0]?.content;
  if (lines.length !== 1 || !content || content === 'too_long') assert.fail(`${lines.length} lines for one result`);
  const decoded = decodeSegmentLine(content);
  assert.deepEqual([decoded.line, decoded.file], [1, result.kind === 'answered' ? 'o' : 'e']);
  const written = Buffer.from(decoded.json);
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(written);
  assert(!/[\r\n]/.test(text), 'a result has a raw newline');
  JSON.parse(text);

  if (made.file === 'e') {
    assert((LINE_ERROR_CODES as readonly string[]).includes(made.error?.code ?? ''), `code ${made.error?.code}`);
    return;
  }
  const head = `{"id":"batch_1_a","custom_id":"a","response":{"status_code":${status},"body":`;
  assert(text.startsWith(head) && text.endsWith('}}'), 'the result has another head');
  const came = body.toString('utf8').replace(/^\ufeff/, '');
  if (line.request.kind === 'openai') assert.equal(text.slice(head.length, -2), came.replaceAll(/[\r\n]/g, ' '));
  if (line.request.kind === 'agent') {
    const data = member(parseJson(text), 'response', 'body', 'data');
    const choices = member(parseJson(came), 'choices');
    const choice = choices?.kind === 'array' ? member(choices.items[0], 'message', 'content') : undefined;
    // Parts are put together by the product; texts come in one piece.
    if (choice?.kind !== 'string') return;
    if (line.request.agentId !== 'json') assert.equal(data?.kind === 'string' ? data.value : undefined, choice.value);
    else {
      const plain = choice.value
        .trim()
        .replaceAll(/[\r\n]/g, ' ')
        .replaceAll(/\p{Cs}/gu, escaped);
      assert.equal(data?.text, plain);
    }
  }
}

/** A surrogate that stands alone has no bytes in UTF-8: in JSON it is written as an escape. */
const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16)}`;

export const answers: Target = {
  name: 'answers',
  executions: 2_000,
  seeds: () => [
    ...asked.map((_, at) => answer(chat('"hi"'), `\0\0${String.fromCharCode(at)}`)),
    answer(chat('"\\ud800\\u0000\u2028"', ',"n":[12345678901234567890,-0,1.10,1e999],"a":1,"a":2,"__proto__":{}')),
    answer(`\ufeff{\r\n"choices":\n[{}],"usage":{"total_tokens":1e999}}\n`),
    answer(chat('"\\ud800 \\u0000 \u2028 é😀"'), `\0\0${agentAt('a')}`),
    answer(chat('"{\\"a\\": 1.10,\\n\\"b\\":\\"\\ud800\\"}"'), `\0\0${agentAt('json')}`),
    answer(chat('[{"text":"a"},{"text":"b"}]'), `\0\0${agentAt('a')}`),
    answer('{"error":{"code":429,"message":"a\\ud800"}}'),
    answer('{"error":{"message":"no"}}', '\x07\0\0'),
    answer('<!doctype html>\0\ud800', '\x0b\x01\0'),
    answer('{"data":[{"index":0,"embedding":[1.10,-0]}],"output":[],"choices":[1]}', '\0\0\x09'),
    answer(chat(`"${'x'.repeat(1_000_000)}"`)),
    answer(chat(`"${'x'.repeat(MAX_ANSWER_BYTES)}"`)),
    answer(chat(`"a","b":${'['.repeat(100_000)}${']'.repeat(100_000)}`)),
  ],
  async start() {
    const server = await startWebServer(async (request, response) => {
      for await (const _ of request);
      response.writeHead(sent.status, sent.type === '' ? {} : { 'content-type': sent.type });
      response.end(sent.body);
    });
    closeServer = () => server.close();
    const baseUrl = `${server.url}/v1`;
    provider = createOpenAiProvider({ baseUrl, apiKey: async () => undefined, maxSockets: 1 });
  },
  check,
  async close() {
    await provider.close?.();
    await closeServer();
  },
};
