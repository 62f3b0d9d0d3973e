import { hash } from 'node:crypto';
import type { ModelEndpoint } from '../domain/modelEndpoints.ts';
import { answerSchema } from './schemaAnswer.ts';
import { seededNumbers, seededUnitVector } from './seeded.ts';

/**
 * The bodies of the simulator: shaped like OpenAI's, made from the request and the seed alone, and each with
 * `simulated: true` and a text that says so.
 */
export type SimulatedAnswer = { status: number; body: Record<string, unknown> };
type Body = Record<string, unknown>;
type Context = { seed: number; dimensions: number };

/** 2025-01-01T00:00:00Z for every answer, so that the same request gives the same bytes. */
const CREATED = 1_735_689_600;
const MAX_CHOICES = 128;
/** OpenAI's rule of thumb: a token is about four characters of English. */
const CHARACTERS_A_TOKEN = 4;

export function simulateAnswer(endpoint: ModelEndpoint, body: Body, context: Context): SimulatedAnswer {
  switch (endpoint) {
    case 'chat/completions':
      return chatCompletion(body, context);
    case 'completions':
      return completion(body, context);
    case 'responses':
      return response(body, context);
    case 'embeddings':
      return embeddings(body, context);
  }
}

export function simulatedError(status: number, type: string, code: string, message: string): SimulatedAnswer {
  return { status, body: { error: { message: `Simulated: ${message}`, type, param: null, code }, simulated: true } };
}

function chatCompletion(body: Body, context: Context): SimulatedAnswer {
  if (!Array.isArray(body.messages) || body.messages.length === 0) return missing('messages');
  const prompt = lastText(body.messages);
  const format = asObject(body.response_format);
  const limit = body.max_completion_tokens ?? body.max_tokens;
  const choices = Array.from({ length: choiceCount(body.n) }, (_, index) => {
    const written = write(prompt, context, index, format, asObject(format.json_schema).schema, limit);
    return {
      index,
      message: { role: 'assistant', content: written.text, refusal: null },
      logprobs: null,
      finish_reason: written.cut ? 'length' : 'stop',
    };
  });
  const input = tokens(allText(body.messages));
  const output = choices.reduce((sum, choice) => sum + tokens(choice.message.content), 0);
  return ok({
    ...head('chatcmpl', 'chat.completion', body, context),
    choices,
    usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
  });
}

function completion(body: Body, context: Context): SimulatedAnswer {
  if (body.prompt === undefined) return missing('prompt');
  const prompts = Array.isArray(body.prompt) && typeof body.prompt[0] === 'string' ? body.prompt : [body.prompt];
  const each = choiceCount(body.n);
  const choices = prompts.flatMap((prompt, at) =>
    Array.from({ length: each }, (_, copy) => {
      const written = write(allText(prompt), context, copy, {}, undefined, body.max_tokens);
      return {
        index: at * each + copy,
        text: written.text,
        logprobs: null,
        finish_reason: written.cut ? 'length' : 'stop',
      };
    }),
  );
  const input = tokens(allText(body.prompt));
  const output = choices.reduce((sum, choice) => sum + tokens(choice.text), 0);
  return ok({
    ...head('cmpl', 'text_completion', body, context),
    choices,
    usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
  });
}

function response(body: Body, context: Context): SimulatedAnswer {
  if (body.input === undefined) return missing('input');
  const prompt = typeof body.input === 'string' ? body.input : lastText(body.input);
  const format = asObject(asObject(body.text).format);
  const written = write(prompt, context, 0, format, format.schema, body.max_output_tokens);
  const input = tokens(allText(body.input) + allText(body.instructions));
  const output = tokens(written.text);
  const { created, ...identity } = head('resp', 'response', body, context);
  return ok({
    ...identity,
    created_at: created,
    status: written.cut ? 'incomplete' : 'completed',
    error: null,
    incomplete_details: written.cut ? { reason: 'max_output_tokens' } : null,
    output: [
      {
        type: 'message',
        id: `msg_${identity.id.slice('resp'.length + 1)}`,
        status: written.cut ? 'incomplete' : 'completed',
        role: 'assistant',
        content: [{ type: 'output_text', text: written.text, annotations: [] }],
      },
    ],
    usage: { input_tokens: input, output_tokens: output, total_tokens: input + output },
  });
}

function embeddings(body: Body, { seed, dimensions }: Context): SimulatedAnswer {
  const { input } = body;
  const many = Array.isArray(input) && typeof input[0] !== 'number';
  const texts = many ? input : [input];
  if (texts.length === 0 || texts.some((text) => typeof text !== 'string' && !Array.isArray(text)))
    return missing('input');
  const size = Number.isInteger(body.dimensions) ? Math.min(Math.max(Number(body.dimensions), 1), 4096) : dimensions;
  const data = texts.map((text, index) => {
    const vector = seededUnitVector(`${seed}\n${typeof text === 'string' ? text : JSON.stringify(text)}`, size);
    const base64 = () => Buffer.from(Float32Array.from(vector).buffer).toString('base64');
    return { object: 'embedding', index, embedding: body.encoding_format === 'base64' ? base64() : vector };
  });
  const used = tokens(allText(input));
  return ok({
    object: 'list',
    data,
    model: body.model,
    usage: { prompt_tokens: used, total_tokens: used },
    simulated: true,
  });
}

const OPENINGS = ['The short of it:', 'In brief:', 'Put simply:', 'To the point:', 'Looked at calmly:'];
const ENDINGS = [
  'That is all there is to say.',
  'More would be invention.',
  'No model was asked.',
  'Take it as a stand-in.',
];

/** The text of one choice: words about the prompt, or a JSON value where the request asks for one. */
function write(
  prompt: string,
  { seed }: Context,
  choice: number,
  format: Body,
  schema: unknown,
  maxTokens: unknown,
): { text: string; cut: boolean } {
  const next = seededNumbers(`${seed}\n${choice}\n${prompt}`);
  const pick = (words: string[]) => words[Math.floor(next() * words.length)] ?? '';
  const about = prompt.length > 160 ? `${prompt.slice(0, 160).toWellFormed()}…` : prompt.toWellFormed();
  const prose = `[simulated answer] ${pick(OPENINGS)} you asked “${about}”. ${pick(ENDINGS)}`;
  if (format.type === 'json_schema')
    return { text: JSON.stringify(answerSchema(schema, `simulated ${Math.floor(next() * 1000)}`, next)), cut: false };
  if (format.type === 'json_object') return { text: JSON.stringify({ simulated: true, answer: prose }), cut: false };
  const room = Number.isInteger(maxTokens) && Number(maxTokens) > 0 ? Number(maxTokens) * CHARACTERS_A_TOKEN : Infinity;
  return prose.length > room ? { text: prose.slice(0, room).toWellFormed(), cut: true } : { text: prose, cut: false };
}

function head(prefix: string, object: string, body: Body, { seed }: Context) {
  const id = `${prefix}-${hash('sha256', `${seed}\n${JSON.stringify(body)}`, 'hex').slice(0, 24)}`;
  return { id, object, created: CREATED, model: body.model, simulated: true };
}

function ok(body: Record<string, unknown>): SimulatedAnswer {
  return { status: 200, body };
}

function missing(param: string): SimulatedAnswer {
  const message = `Simulated: Missing required parameter: '${param}'.`;
  const error = { message, type: 'invalid_request_error', param, code: 'missing_required_parameter' };
  return { status: 400, body: { error, simulated: true } };
}

/** The text of the last message. */
function lastText(messages: unknown): string {
  return Array.isArray(messages) ? allText(asObject(messages.at(-1)).content) : '';
}

/** Every text inside: strings, arrays of them, content parts, messages. Pictures and the like count nothing. */
function allText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return `${value} `;
  if (Array.isArray(value)) return value.map(allText).join('');
  const { text, content } = asObject(value);
  return text === undefined && content === undefined ? '' : allText(text ?? content);
}

function tokens(text: string): number {
  return Math.ceil(text.length / CHARACTERS_A_TOKEN);
}

function choiceCount(n: unknown): number {
  return Number.isInteger(n) ? Math.min(Math.max(Number(n), 1), MAX_CHOICES) : 1;
}

function asObject(value: unknown): Body {
  // Checked to be an object just here; its values stay unknown.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Body) : {};
}
