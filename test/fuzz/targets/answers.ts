import assert from 'node:assert/strict';
import { LINE_ERROR_CODES } from '../../../shared/domain/errors.ts';
import { decodeSegmentLine, encodeSegment, type SegmentEntry } from '../../../shared/domain/lines/segment.ts';
import { ModelsFileSchema } from '../../../shared/domain/models.ts';
import { FAILURE_CAUSES } from '../../../shared/domain/retry/failureCauses.ts';
import { createOpenAiProvider } from '../../../shared/providers/openai.ts';
import { callLine } from '../../../shared/usecases/runShard/callLine.ts';
import { answeredEntry, failedCallEntry, prepareLine } from '../../../shared/usecases/runShard/prepareLine.ts';
import { recordedLog } from '../../support/recordedLog.ts';
import { startWebServer } from '../../support/webServer.ts';
import { jsonTokens } from '../jsonTokens.ts';
import { numberOf, type Target } from '../target.ts';

const MIB = 1024 * 1024;
const MAX_ANSWER_BYTES = 2 * MIB;
const BATCH_ID = 'batch_01KF0K8Y2013DXTGHGKTJ9V124';
const STATUSES = [200, 200, 200, 200, 201, 204, 302, 400, 404, 429, 500, 503];
const REQUESTS = [
  { url: '/v1/chat/completions', type: 'COMPLETIONS', body: { model: 'default', messages: [{ role: 'user' }] } },
  { url: '/v1/responses', type: 'COMPLETIONS', body: { model: 'default', input: 'hello' } },
  { url: '/agents/a/invoke', type: 'COMPLETIONS', body: { input: 'hello' } },
  { url: '/agents/a/invoke', type: 'COMPLETIONS', body: { input: 'hello', output_schema: '{"type":"object"}' } },
  { url: '/vectors', type: 'EMBEDDINGS', body: { vectors: [{ id: '1', values: [], metadata: { text: 'hello' } }] } },
  { url: '/v1/embeddings', type: 'EMBEDDINGS', body: { model: 'embedding', input: 'hello' } },
] as const;

/**
 * What a model's server answers, over HTTP: each line ends in exactly one line of output or errors, a model's own body
 * stands there token for token as it came, and an agent's text is the model's.
 */
export async function answers(): Promise<Target> {
  let answer: { status: number; body: Buffer } = { status: 200, body: Buffer.alloc(0) };
  const server = await startWebServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body));
  });
  const models = ModelsFileSchema.parse({
    providers: { test: { kind: 'openai', base_url: `${server.url}/v1`, api_key: false } },
    models: {
      default: { provider: 'test', model: 'm', endpoints: ['chat/completions', 'completions', 'responses'] },
      embedding: { provider: 'test', model: 'e', endpoints: ['embeddings'] },
    },
    agents: { '*': { model: 'default' } },
    vectors: { model: 'embedding' },
  });
  const baseUrl = `${server.url}/v1`;
  const provider = createOpenAiProvider({ baseUrl, apiKey: async () => undefined, maxSockets: 1 });
  const deps = { log: recordedLog(), models, providers: { get: async () => provider } };

  return {
    large: () => [
      answerOf('x'.repeat(MIB)),
      answerOf('\u0000'.repeat(200_000)),
      answerOf('\u{1f600}\u2028'.repeat(100_000)),
      Buffer.from('['.repeat(200_000)),
      Buffer.from(answerOf('n').toString().replace('"n"', '9'.repeat(500_000))),
      // The status goes by the bytes: one of these has a status with a body.
      ...[' ', 'a', 'b'].map((fill) => Buffer.alloc(MAX_ANSWER_BYTES + 1, fill)),
      Buffer.from(JSON.stringify(JSON.parse(answerOf('pretty').toString()), null, 2)),
    ],
    async check(input) {
      const number = numberOf(input);
      const status = STATUSES[number % STATUSES.length] ?? 200;
      const asked = REQUESTS[(number >>> 8) % REQUESTS.length] ?? REQUESTS[0];
      answer = { status, body: input };
      const { url, type, body } = asked;
      const content = Buffer.from(JSON.stringify({ custom_id: 'a"\u2028\n', method: 'POST', url, body }));
      const physical = { line: 7, start: 0, end: content.length, terminated: true, content };
      const context = { type, models, maxLineBytes: MIB, batchId: BATCH_ID, firstLine: 1 };
      const prepared = prepareLine(physical, context, { attempts: 0, answerBytes: () => 0 });
      assert(prepared.kind === 'call');
      const options = { timeoutMs: 60_000, maxAnswerBytes: MAX_ANSWER_BYTES, signal: new AbortController().signal };
      const result = await callLine(deps, prepared.line, options);
      assert(result.kind !== 'called_off');
      if (result.kind === 'answered') {
        const entry = answeredEntry(BATCH_ID, 7, prepared.line.request.customId, result.statusCode, result.body);
        checkOutput(entry, url, input);
        return `output of ${url}`;
      }
      assert(Object.hasOwn(FAILURE_CAUSES, result.failure.cause));
      checkFailed(failedCallEntry(BATCH_ID, prepared.line, result.failure));
      return result.failure.cause;
    },
    async close() {
      await provider.close?.();
      await server.close();
    },
  };
}

function answerOf(content: string): Buffer {
  const usage = { prompt_tokens: 1, completion_tokens: 1 };
  return Buffer.from(JSON.stringify({ id: 'chat-1', choices: [{ message: { role: 'assistant', content } }], usage }));
}

type ResultLine = {
  id: string;
  custom_id: string;
  response: { status_code: number; body: Record<string, unknown> } | null;
  error?: { code: string };
};

/** The line as it is once it was a segment's and Finalize's. */
function written(entry: SegmentEntry): { text: string; line: ResultLine } {
  const segment = encodeSegment([entry]);
  assert.equal(segment.indexOf('\n'), segment.length - 1, 'a result of several lines');
  const decoded = decodeSegmentLine(segment.subarray(0, -1));
  assert.equal(decoded.line, 7);
  assert.equal(decoded.file, entry.file);
  const text = Buffer.from(decoded.json).toString();
  const line = JSON.parse(text) as ResultLine;
  assert.equal(line.custom_id, 'a"\u2028\n');
  assert.equal(line.id, `${BATCH_ID}_a"\u2028\n`);
  return { text, line };
}

function checkOutput(entry: SegmentEntry, url: string, input: Buffer): void {
  const { text, line } = written(entry);
  const theirs = new TextDecoder('utf-8', { fatal: true }).decode(input);
  if (url.startsWith('/v1/')) {
    const ours = new Map(
      [...jsonTokens(text)].flatMap(([path, token]): [string, string][] =>
        path.startsWith('/"response"/"body"') ? [[path.slice('/"response"/"body"'.length), token]] : [],
      ),
    );
    assert.deepEqual(ours, jsonTokens(theirs), 'the model’s body is another');
    // More than that: untouched, but for the newlines between tokens.
    assert(text.endsWith(`"body":${theirs.replaceAll(/[\r\n]/g, ' ')}}}`), 'the model’s body was written anew');
    return;
  }
  const { choices } = JSON.parse(theirs) as { choices?: { message: { content: string | { text?: string }[] } }[] };
  if (url !== '/agents/a/invoke') return;
  const content = choices?.[0]?.message.content;
  const said = typeof content === 'string' ? content : content?.map((part) => part.text ?? '').join('');
  const { data } = line.response?.body ?? {};
  assert.equal(line.response?.body.success, true);
  if (typeof data === 'string' && data === said) return;
  // With an output_schema the value that the text is.
  assert.deepEqual(data, JSON.parse(said ?? ''));
}

function checkFailed(entry: SegmentEntry): void {
  const { line } = written(entry);
  assert.equal(entry.file, 'e');
  assert(
    LINE_ERROR_CODES.some((code) => code === line.error?.code),
    `no error of the contract: ${line.error?.code}`,
  );
}
