import type { BatchType } from '../batch.ts';
import { MODEL_ENDPOINTS, type ModelEndpoint } from '../modelEndpoints.ts';
import { findAgent, findModel, type ModelsFile } from '../models.ts';
import { type LineReading, type ParsedLine, parseText, type Text, textOf } from './lineJson.ts';
import { type LineProblem, nameKind, problemsOf, quote } from './lineProblem.ts';
import type { PhysicalLine } from './lineReader.ts';
import { isDeeperThan, MAX_DEPTH } from './nesting.ts';
import { PLAIN_BODIES } from './plainBodies.ts';
import { type AgentBody, BODY_SCHEMAS, isObject, type VectorsBody } from './requestBodies.ts';

/** One line of a batch's input that was found good, by the endpoint that it asks for. */
export type RequestLine =
  | { kind: 'agent'; customId: string; agentId: string; body: AgentBody }
  | ({ kind: 'vectors'; customId: string; body: VectorsBody } & AsWritten)
  /** `model` is the client's name for it; the body goes to the provider as it is, but for that name. */
  | ({
      kind: 'openai';
      customId: string;
      endpoint: ModelEndpoint;
      model: string;
      body: Record<string, unknown>;
    } & AsWritten);

/** What is kept of a request until it is answered: a body that goes on as it is, is not. */
export type AskedLine =
  | Exclude<RequestLine, { kind: 'openai' }>
  | { kind: 'openai'; customId: string; endpoint: ModelEndpoint };

/** The body's own text. Set where it is to go on. */
type AsWritten = { bodyText?: string };

/** `customId` is null where the line has no usable one. `problems` is never empty. */
export type CheckedLine =
  | { ok: true; request: RequestLine }
  | { ok: false; customId: string | null; problems: LineProblem[] };

export type LineContext = LineReading & { type: BatchType; models: ModelsFile };

const MAX_CUSTOM_ID = 512;

type Target = { kind: 'agent'; agentId: string } | { kind: 'vectors' } | { kind: 'openai'; endpoint: ModelEndpoint };

/** Checks one line against the contract; never throws for what is in it. */
export function checkLine(line: PhysicalLine, context: LineContext): CheckedLine {
  return checkParsed(parseText(textOf(line, context), line, context), context);
}

/**
 * The same for many lines, each step for all of them before the next: its code and what it looks at are then still in
 * the processor's nearest caches. What is parsed is held until all are checked: a block of lines is few enough.
 */
export function checkBlock(lines: readonly PhysicalLine[], context: LineContext): CheckedLine[] {
  const texts = lines.map((line) => textOf(line, context));
  // One text a line.
  const parsed = lines.map((line, at) => parseText(texts[at] as Text, line, context));
  return parsed.map((value) => checkParsed(value, context));
}

function bad(customId: string | null, ...problems: LineProblem[]): CheckedLine {
  return { ok: false, customId, problems };
}

function checkParsed(parsed: ParsedLine, context: LineContext): CheckedLine {
  if ('problem' in parsed) return bad(null, parsed.problem);
  const { value, text } = parsed;
  if (!isObject(value))
    return bad(null, {
      code: 'invalid_line',
      param: null,
      message: `The line is ${nameKind(value)}; it must be one JSON object with custom_id, method, url and body.`,
    });
  if (text.length > 2 * MAX_DEPTH && opens(text, MAX_DEPTH) && isDeeperThan(value, MAX_DEPTH))
    return bad(null, {
      code: 'invalid_value',
      param: null,
      message: `The line is nested deeper than ${MAX_DEPTH} levels.`,
    });
  // JSON.parse makes plain objects, which inherit none of these names.
  const { custom_id: customId, method: asked, url, body } = value as Record<string, unknown>;
  const idProblem = checkCustomId(customId);
  const problems: LineProblem[] = [];
  if (idProblem) problems.push(idProblem);
  const method = checkMethod(asked);
  if (method) problems.push(method);
  const target = findTarget(url, context);
  if ('problem' in target) problems.push(target.problem);

  if (body === undefined) problems.push(missing('body', 'an object'));
  else if (!isObject(body)) problems.push(wrongType('body', 'an object', body));
  else if ('target' in target) for (const problem of checkBody(target.target, body, context)) problems.push(problem);

  const usableId = idProblem === undefined && typeof customId === 'string' ? customId : null;
  if (problems.length > 0 || usableId === null || 'problem' in target) return bad(usableId, ...problems);
  return { ok: true, request: toRequest(target.target, usableId, body) };
}

/** What the checks above have made certain, in types. */
function toRequest(target: Target, customId: string, body: unknown): RequestLine {
  // The body has passed its schema. The client's own object is used, not zod's copy: a provider gets it as it came.
  switch (target.kind) {
    case 'agent':
      return { kind: 'agent', customId, agentId: target.agentId, body: body as AgentBody };
    case 'vectors':
      return { kind: 'vectors', customId, body: body as VectorsBody };
    case 'openai': {
      const call = body as Record<string, unknown> & { model: string };
      return { kind: 'openai', customId, endpoint: target.endpoint, model: call.model, body: call };
    }
  }
}

function missing(param: string, wanted: string): LineProblem {
  return { code: 'missing_required_parameter', param, message: `${param} is missing: it must be ${wanted}.` };
}

function wrongType(param: string, wanted: string, found: unknown): LineProblem {
  return { code: 'invalid_type', param, message: `${param} must be ${wanted}, not ${nameKind(found)}.` };
}

function checkCustomId(customId: unknown): LineProblem | undefined {
  if (customId === undefined) return missing('custom_id', 'a string that no other line has');
  if (typeof customId !== 'string') return wrongType('custom_id', 'a string', customId);
  // A character has one UTF-16 unit at least: most ids need no counting.
  const characters = customId.length <= MAX_CUSTOM_ID ? customId.length : countCharacters(customId);
  if (characters > 0 && characters <= MAX_CUSTOM_ID) return undefined;
  const message = `custom_id has ${characters} characters; 1 to ${MAX_CUSTOM_ID} are allowed.`;
  return { code: 'invalid_value', param: 'custom_id', message };
}

/** Code points, as the API counts those of names; an id can have the 10 MB of its line, so no array is made of them. */
function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

function checkMethod(method: unknown): LineProblem | undefined {
  if (method === 'POST') return undefined;
  if (method === undefined) return missing('method', '"POST"');
  if (typeof method !== 'string') return wrongType('method', '"POST"', method);
  return { code: 'invalid_method', param: 'method', message: `method must be "POST", not ${quote(method)}.` };
}

const AGENT_URL = /^\/agents\/([^/?#\s]{1,256})\/invoke$/;
const OPENAI_TARGETS = MODEL_ENDPOINTS.map(
  (endpoint) => ({ kind: 'openai', endpoint, url: `/v1/${endpoint}` }) as const,
);
const URLS_BY_TYPE = {
  COMPLETIONS: '/agents/{agent_id}/invoke, /v1/chat/completions, /v1/completions or /v1/responses',
  EMBEDDINGS: '/vectors or /v1/embeddings',
} as const satisfies Record<BatchType, string>;

function parseTarget(url: string): Target | undefined {
  if (url === '/vectors') return { kind: 'vectors' };
  // Compared, not looked up: a lookup would first make a hash of each line's own string.
  for (const target of OPENAI_TARGETS) if (target.url === url) return target;
  const agent = AGENT_URL.exec(url)?.[1];
  if (agent === undefined) return undefined;
  try {
    return { kind: 'agent', agentId: decodeURIComponent(agent) };
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

function typeOf(target: Target): BatchType {
  if (target.kind === 'vectors') return 'EMBEDDINGS';
  return target.kind === 'openai' && target.endpoint === 'embeddings' ? 'EMBEDDINGS' : 'COMPLETIONS';
}

function findTarget(url: unknown, { type, models }: LineContext): { target: Target } | { problem: LineProblem } {
  const param = 'url';
  const right = URLS_BY_TYPE[type];
  if (url === undefined) return { problem: missing(param, right) };
  if (typeof url !== 'string') return { problem: wrongType(param, `a string: ${right}`, url) };
  const target = parseTarget(url);
  if (target === undefined)
    return {
      problem: { code: 'invalid_url', param, message: `url ${quote(url)} is not known here; it must be ${right}.` },
    };
  if (typeOf(target) !== type)
    return {
      problem: {
        code: 'url_not_allowed_for_type',
        param,
        message: `url ${quote(url)} is not for a batch of type ${type}, whose lines go to ${right}.`,
      },
    };
  const known =
    target.kind === 'agent'
      ? findAgent(models, target.agentId) !== undefined
      : target.kind === 'openai' || models.vectors !== undefined;
  if (known) return { target };
  const message =
    target.kind === 'agent'
      ? `There is no agent ${quote(target.agentId)} here; there is ${namesOf(models.agents)}.`
      : 'No model for /vectors is set up here.';
  return { problem: { code: 'model_not_found', param, message } };
}

function checkBody(target: Target, body: object, { models }: LineContext): LineProblem[] {
  const kind = target.kind === 'openai' ? target.endpoint : target.kind;
  const fields = body as Readonly<Record<string, unknown>>;
  const error = PLAIN_BODIES[kind](fields) ? undefined : BODY_SCHEMAS[kind].safeParse(body).error;
  const problems = error ? problemsOf(error, 'body', body) : [];
  if (target.kind !== 'openai') return problems;
  const name = fields.model;
  if (typeof name !== 'string' || name === '') return problems;
  const model = findModel(models, name);
  const param = 'body.model';
  if (model === undefined)
    problems.unshift({
      code: 'model_not_found',
      param,
      message: `There is no model ${quote(name)} here; there is ${namesOf(models.models)}.`,
    });
  else if (!model.endpoints.includes(target.endpoint))
    problems.unshift({
      code: 'model_not_found',
      param,
      message: `The model ${quote(name)} does not serve /v1/${target.endpoint}, only ${model.endpoints.map((endpoint) => `/v1/${endpoint}`).join(', ')}.`,
    });
  return problems;
}

/** A message names so many at most. */
const NAMED_MODELS = 10;

function namesOf(known: object): string {
  const names = Object.keys(known);
  const more = names.length - NAMED_MODELS;
  return `${names.slice(0, NAMED_MODELS).map(quote).join(', ') || 'none'}${more > 0 ? ` and ${more} more` : ''}`;
}

/** Whether so many brackets open in the text: without them nothing in it can be as deep. Those in strings count, too. */
function opens(text: string, brackets: number): boolean {
  let count = 0;
  for (const bracket of '{[')
    for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1))
      if (++count === brackets) return true;
  return false;
}
