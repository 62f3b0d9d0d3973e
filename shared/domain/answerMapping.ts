import type { Usage } from './batch.ts';
import { expectedAnswer, vectorsAnswer } from './lineMapping.ts';
import { isObject } from './lines/requestBodies.ts';
import type { AskedLine } from './lines/requestLine.ts';
import type { ModelEndpoint } from './modelEndpoints.ts';
import type { ModelsFile } from './models.ts';

/**
 * What a model's 2xx answer comes to.
 *
 * `ok`: `body` is the line's response body, JSON text. `invalid`: it cannot be used. `cause` tells why:
 * - `error_inside`: a fault reported with status 200, as some gateways do; `status` is the one that it names, if any
 * - `not_json`, `incomplete`: not what this endpoint answers (no choices, no data, wrong counts or dimensions)
 * - `no_text`: an answer without text where the line wants text (a refusal, a tool call)
 * - `not_the_schema`: the line asked for JSON, the text is none
 * `body` is then the answer as JSON text for the errors file. Tokens were paid for either way.
 */
export type MappedAnswer =
  | { kind: 'ok'; body: string; usage: Usage | undefined }
  | {
      kind: 'invalid';
      cause: 'error_inside' | 'not_json' | 'incomplete' | 'no_text' | 'not_the_schema';
      /** A sentence without the model's text. */
      message: string;
      status?: number;
      body: string;
      usage: Usage | undefined;
    };

type Invalid = Extract<MappedAnswer, { kind: 'invalid' }>;

/** A body that is no JSON is kept as a JSON string, cut to so many characters. */
const MAX_RAW_BODY = 4_096;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

export function fromModelAnswer(request: AskedLine, models: ModelsFile, answer: Uint8Array): MappedAnswer {
  const read = readJson(answer);
  if (read === undefined || !isObject(read.value))
    return {
      kind: 'invalid',
      cause: 'not_json',
      message: 'The model answered with something that is not a JSON object.',
      body: answerAsJson(answer),
      usage: undefined,
    };
  const { text, value } = read;
  const usage = usageOf(value);
  const invalid = (cause: Invalid['cause'], message: string): Invalid => ({
    kind: 'invalid',
    cause,
    message,
    body: text,
    usage,
  });

  const fault = get(value, 'error');
  if (fault !== undefined && fault !== null && fault !== false) {
    const status = faultStatus(fault);
    return {
      ...invalid('error_inside', 'The model answered with status 200 and an error inside.'),
      ...(status === undefined ? {} : { status }),
    };
  }
  const expected = expectedAnswer(request, models);
  const endpoint = endpointOf(request);
  const missing = missingPart(endpoint, value);
  if (missing) return invalid('incomplete', `The model's answer has ${missing}.`);

  switch (expected.kind) {
    case 'openai':
      return { kind: 'ok', body: text, usage };
    case 'vectors': {
      const wanted = expected.body.vectors.filter((item) => item.values.length === 0).length;
      const read = readEmbeddings(get(value, 'data'), wanted);
      if ('fault' in read) return invalid('incomplete', `The model's answer has ${read.fault}.`);
      return { kind: 'ok', body: vectorsAnswer(expected, read.embeddings), usage };
    }
    case 'text':
    case 'json': {
      const content = textOf(value);
      if (content === undefined) return invalid('no_text', `The model gave no text${finishReason(value)}.`);
      const id = get(value, 'id');
      const messageId = typeof id === 'string' && id !== '' ? `,"message_id":${JSON.stringify(id)}` : '';
      if (expected.kind === 'json' && !isJson(content))
        return invalid('not_the_schema', `The model's text is not JSON, as output_schema asks${finishReason(value)}.`);
      // JSON text goes in as it is: no number is rounded, no nesting is too deep.
      const data = expected.kind === 'json' ? withoutHalves(content) : JSON.stringify(content);
      return { kind: 'ok', body: `{"success":true,"data":${data}${messageId}}`, usage };
    }
  }
}

/** Half a character, which no file can hold, as its escape: in JSON text it can stand nowhere but in a string. */
function withoutHalves(json: string): string {
  if (json.isWellFormed()) return json;
  return json.replaceAll(/\p{Surrogate}/gu, (half) => `\\u${half.charCodeAt(0).toString(16)}`);
}

/** Any answer's body as JSON text, for the `response` of an errors-file line. */
export function answerAsJson(answer: Uint8Array): string {
  const read = readJson(answer);
  if (read) return read.text;
  const text = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength).toString('utf8');
  return JSON.stringify(text.slice(0, MAX_RAW_BODY).toWellFormed());
}

/**
 * No call has so many tokens. A larger number is a fault of the server's, and is not believed: the sum over 1,000,000
 * lines and all their tries must stay a safe integer, or neither the shards' records nor the batch could be read again.
 */
const MAX_TOKENS = 100_000_000;

/** Tokens in any of the dialect's two spellings; undefined where the model reports none. */
export function usageOf(answer: object): Usage | undefined {
  const usage = get(answer, 'usage');
  if (!isObject(usage)) return undefined;
  const count = (...names: string[]): number | undefined => {
    for (const name of names) {
      const value = get(usage, name);
      if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_TOKENS) return value;
    }
    return undefined;
  };
  const input = count('prompt_tokens', 'input_tokens');
  const output = count('completion_tokens', 'output_tokens');
  const total = count('total_tokens');
  if (input === undefined && output === undefined && total === undefined) return undefined;
  // Embeddings report no output; a server that gives a total and one part gives the other by it.
  const inputTokens = input ?? Math.max(0, (total ?? 0) - (output ?? 0));
  return { inputTokens, outputTokens: output ?? Math.max(0, (total ?? inputTokens) - inputTokens) };
}

function endpointOf(request: AskedLine): ModelEndpoint {
  if (request.kind === 'openai') return request.endpoint;
  return request.kind === 'agent' ? 'chat/completions' : 'embeddings';
}

function get(value: object, name: string): unknown {
  return Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
}

function readJson(answer: Uint8Array): { text: string; value: unknown } | undefined {
  try {
    const text = utf8.decode(answer);
    return { text, value: JSON.parse(text) };
  } catch (error) {
    // TypeError: the decoder's, for bytes that are not UTF-8.
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

function missingPart(endpoint: ModelEndpoint, answer: object): string | undefined {
  const filled = (name: string) => {
    const list = get(answer, name);
    return Array.isArray(list) && list.length > 0;
  };
  switch (endpoint) {
    case 'chat/completions':
    case 'completions':
      return filled('choices') ? undefined : 'no choices';
    case 'embeddings':
      return filled('data') ? undefined : 'no data';
    case 'responses':
      return Array.isArray(get(answer, 'output')) ? undefined : 'no output';
  }
}

/** The first choice's text; some servers give it in parts. */
function textOf(answer: object): string | undefined {
  const message = firstChoice(answer, 'message');
  const content = isObject(message) ? get(message, 'content') : undefined;
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return undefined;
  const texts = content.flatMap((part: unknown) => {
    const text = isObject(part) ? get(part, 'text') : undefined;
    return typeof text === 'string' ? [text] : [];
  });
  return texts.length > 0 ? texts.join('') : undefined;
}

function firstChoice(answer: object, name: string): unknown {
  const choices = get(answer, 'choices');
  const first: unknown = Array.isArray(choices) ? choices[0] : undefined;
  return isObject(first) ? get(first, name) : undefined;
}

function finishReason(answer: object): string {
  const reason = firstChoice(answer, 'finish_reason');
  return typeof reason === 'string' && /^\w{1,40}$/.test(reason) ? ` (finish_reason ${reason})` : '';
}

/** `{ error: { code: 429 } }`, `{ error: { status: 503 } }` */
function faultStatus(fault: unknown): number | undefined {
  if (!isObject(fault)) return undefined;
  for (const name of ['status', 'code', 'status_code']) {
    const value = get(fault, name);
    const status = typeof value === 'string' ? Number(value) : value;
    if (typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599) return status;
  }
  return undefined;
}

/** In the order of the texts: `index` says so where it is given. */
function readEmbeddings(data: unknown, wanted: number): { embeddings: number[][] } | { fault: string } {
  if (!Array.isArray(data) || data.length !== wanted)
    return { fault: `${Array.isArray(data) ? data.length : 'no'} embeddings for ${wanted} texts` };
  const embeddings: (number[] | undefined)[] = new Array(wanted).fill(undefined);
  for (const [position, entry] of data.entries()) {
    const index = isObject(entry) ? (get(entry, 'index') ?? position) : undefined;
    const values = isObject(entry) ? get(entry, 'embedding') : undefined;
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= wanted)
      return { fault: 'embeddings that cannot be told apart' };
    if (!isNumbers(values)) return { fault: 'an embedding that is not a list of numbers' };
    embeddings[index] = values;
  }
  const found = embeddings.filter((values) => values !== undefined);
  if (found.length !== wanted) return { fault: 'two embeddings for one text' };
  const dimensions = found[0]?.length;
  if (found.some((values) => values.length !== dimensions)) return { fault: 'embeddings of different dimensions' };
  return { embeddings: found };
}

function isNumbers(values: unknown): values is number[] {
  return Array.isArray(values) && values.length > 0 && values.every((value) => Number.isFinite(value));
}
