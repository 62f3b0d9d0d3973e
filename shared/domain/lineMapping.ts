import { elementTexts, memberTexts, withMember } from './lines/jsonText.ts';
import type { AgentBody, VectorItem } from './lines/requestBodies.ts';
import { parseObject } from './lines/requestBodies.ts';
import type { AskedLine, RequestLine } from './lines/requestLine.ts';
import { bodyWithModel, type WrittenCall } from './lines/writtenCall.ts';
import type { ModelEndpoint } from './modelEndpoints.ts';
import { type AgentEntry, findAgent, findModel, type ModelEntry, type ModelsFile } from './models.ts';

/**
 * A request line → the model call that answers it. `answered`: nothing has to be asked. `model_not_found`: the models
 * of this deployment are no longer those that Validate knew.
 */
export type LineCall =
  | {
      kind: 'call';
      /** Names in `models.json`: the provider, and the model that limits and circuits go by. */
      provider: string;
      model: string;
      endpoint: ModelEndpoint;
      /** In OpenAI's dialect, with the provider's own name of the model inside. */
      readonly body: Record<string, unknown>;
      /** The line's own text of it, but for the model's name: what is sent. Absent where the body is made here. */
      json?: string | Buffer;
    }
  | { kind: 'answered'; statusCode: 200; body: string }
  | { kind: 'model_not_found'; message: string };

export function toModelCall(request: RequestLine, models: ModelsFile): LineCall {
  switch (request.kind) {
    case 'openai':
      return call(models, request.model, request.endpoint, request.body, request.bodyText);
    case 'agent': {
      const agent = findAgent(models, request.agentId);
      if (agent === undefined) return { kind: 'model_not_found', message: 'The agent is no longer set up here.' };
      return call(models, agent.model, 'chat/completions', agentCallBody(agent, request.body));
    }
    case 'vectors': {
      const texts = request.body.vectors.filter(isToEmbed).map((item) => item.metadata?.text);
      if (texts.length === 0) return { kind: 'answered', statusCode: 200, body: vectorsAnswer(request, []) };
      if (models.vectors === undefined)
        return { kind: 'model_not_found', message: 'No model for /vectors is set up here any more.' };
      return call(models, models.vectors.model, 'embeddings', { input: texts });
    }
  }
}

/** The same of a line that was read by its text. `content`: the bytes of the line. */
export function toWrittenCall(content: Buffer, written: WrittenCall, models: ModelsFile): LineCall {
  const entry = servingModel(models, written.model, written.endpoint);
  return entry
    ? new CallAsWritten(entry, written, bodyWithModel(content, written, nameOf(entry)))
    : missing(written.model);
}

class CallAsWritten {
  readonly kind = 'call';
  readonly provider: string;
  readonly model: string;
  readonly endpoint: ModelEndpoint;
  readonly json: Buffer;

  constructor({ provider }: ModelEntry, { model, endpoint }: WrittenCall, json: Buffer) {
    this.provider = provider;
    this.model = model;
    this.endpoint = endpoint;
    this.json = json;
  }

  /** Parsed anew each time that it is asked for, which few providers do. */
  get body(): Record<string, unknown> {
    // The body of a line that is good is an object.
    return JSON.parse(this.json.toString()) as Record<string, unknown>;
  }
}

const names = new WeakMap<ModelEntry, Buffer>();

/** The provider's own name of the model, as JSON text. */
function nameOf(entry: ModelEntry): Buffer {
  const name = names.get(entry) ?? Buffer.from(JSON.stringify(entry.model));
  names.set(entry, name);
  return name;
}

function servingModel(models: ModelsFile, name: string, endpoint: ModelEndpoint): ModelEntry | undefined {
  const entry = findModel(models, name);
  return entry?.endpoints.includes(endpoint) ? entry : undefined;
}

function missing(model: string): LineCall {
  return { kind: 'model_not_found', message: `The model ${JSON.stringify(model)} is no longer set up here.` };
}

/** The name of the model that answers the line; undefined where none is asked. */
export function modelOfLine(request: RequestLine, models: ModelsFile): string | undefined {
  switch (request.kind) {
    case 'openai':
      return request.model;
    case 'agent':
      return findAgent(models, request.agentId)?.model;
    case 'vectors':
      return request.body.vectors.some(isToEmbed) ? models.vectors?.model : undefined;
  }
}

function call(
  models: ModelsFile,
  name: string,
  endpoint: ModelEndpoint,
  body: Record<string, unknown>,
  bodyText?: string,
): LineCall {
  const entry = servingModel(models, name, endpoint);
  if (!entry) return missing(name);
  // `model` stays where the client had it; spread defines keys, so a "__proto__" in the body stays a key.
  return {
    kind: 'call',
    provider: entry.provider,
    model: name,
    endpoint,
    body: { ...body, model: entry.model },
    ...(bodyText === undefined ? {} : { json: withMember(bodyText, 'model', JSON.stringify(entry.model)) }),
  };
}

/* ---------------------------------------------------------------- agents */

function agentCallBody(agent: AgentEntry, body: AgentBody): Record<string, unknown> {
  const schema = outputSchema(agent, body);
  const instructions = agent.instructions && fillIn(agent.instructions, body.variables ?? []);
  return {
    messages: [
      ...(instructions ? [{ role: 'system', content: instructions }] : []),
      { role: 'user', content: userContent(body) },
    ],
    ...(agent.temperature === undefined ? {} : { temperature: agent.temperature }),
    // `max_completion_tokens` is OpenAI's newer name, but other servers of the dialect know only this one.
    ...(agent.max_output_tokens === undefined ? {} : { max_tokens: agent.max_output_tokens }),
    // Not `strict`: OpenAI then refuses schemas that leave out `additionalProperties: false` or `required`.
    ...(schema === undefined
      ? {}
      : { response_format: { type: 'json_schema', json_schema: { name: 'output', schema } } }),
  };
}

/** The line's own schema goes before the agent's. */
function outputSchema(agent: AgentEntry, body: AgentBody): Record<string, unknown> | undefined {
  return typeof body.output_schema === 'string' ? parseObject(body.output_schema) : agent.output_schema;
}

/**
 * Values take the place of `{{name}}` in the instructions, once: what a value brings in is not looked at again.
 * Placeholders without a variable stay, variables without a placeholder do nothing, and `input` is never touched, since
 * it is the end user's text. A name that comes twice has its last value.
 */
function fillIn(instructions: string, variables: NonNullable<AgentBody['variables']>): string {
  const values = new Map(variables.map(({ name, key, value }) => [(name ?? key ?? '').trim(), String(value)]));
  return instructions.replaceAll(/\{\{([^{}]*)\}\}/g, (placeholder, name: string) => {
    return values.get(name.trim()) ?? placeholder;
  });
}

/** Documents become content parts; a title that has no place of its own in the dialect goes before its image as text. */
function userContent({ input, documents }: AgentBody): unknown {
  if (!documents || documents.length === 0) return input;
  const parts = documents.flatMap(({ type, url, title }): unknown[] => {
    if (type === 'image')
      return [...(title ? [{ type: 'text', text: title }] : []), { type: 'image_url', image_url: { url } }];
    // OpenAI takes a data: URL here; OpenAI-compatible gateways take https:// as well.
    return [{ type: 'file', file: { filename: title || 'document.pdf', file_data: url } }];
  });
  return [{ type: 'text', text: input }, ...parts];
}

/* ---------------------------------------------------------------- vectors */

function isToEmbed(item: VectorItem): boolean {
  return item.values.length === 0;
}

/** `embeddings`: those of the items without values, in their order. What the items bring along stays as it was written. */
export function vectorsAnswer(
  { body, bodyText }: Extract<RequestLine, { kind: 'vectors' }>,
  embeddings: readonly (readonly number[])[],
): string {
  const written = bodyText === undefined ? [] : elementTexts(memberTexts(bodyText).get('vectors') ?? '[]');
  let next = 0;
  const vectors = body.vectors.map((item, index) => {
    const texts = memberTexts(written[index] ?? '{}');
    const text = (name: string, value: unknown) => texts.get(name) ?? JSON.stringify(value);
    const values = isToEmbed(item) ? JSON.stringify(embeddings[next++]) : text('values', item.values);
    const metadata = item.metadata ? text('metadata', item.metadata) : '{}';
    return `{"id":${JSON.stringify(item.id)},"values":${values},"metadata":${metadata}}`;
  });
  const { length } = vectors;
  const message = `${length} ${length === 1 ? 'vector' : 'vectors'}, ${next} embedded.`;
  return `{"success":true,"message":${JSON.stringify(message)},"vectors_count":${length},"data":{"vectors":[${vectors.join(',')}]}}`;
}

/** What the answer's reader has to know of the request. */
export function expectedAnswer(
  request: AskedLine,
  models: ModelsFile,
): { kind: 'text' | 'json' } | Extract<RequestLine, { kind: 'vectors' }> | { kind: 'openai' } {
  switch (request.kind) {
    case 'openai':
      return { kind: 'openai' };
    case 'agent': {
      const agent = findAgent(models, request.agentId);
      const wantsJson = agent !== undefined && outputSchema(agent, request.body) !== undefined;
      return { kind: wantsJson ? 'json' : 'text' };
    }
    case 'vectors':
      return request;
  }
}
