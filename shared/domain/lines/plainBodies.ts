import type { BODY_SCHEMAS } from './requestBodies.ts';

/**
 * Bodies that surely pass their schema, told by a look that takes a tenth of the time: nearly all there are. False says
 * nothing: then the schema is asked, which words what is wrong. A property test holds each of these to its schema.
 *
 * The values come from JSON.parse. Its objects inherit none of the names that are asked for here.
 */
type Fields = Readonly<Record<string, unknown>>;
type Look = (body: Fields) => boolean;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
const isOff = (value: unknown) => value === undefined || value === null || value === false;
const isTextOrList = (value: unknown) => isText(value) || (Array.isArray(value) && value.length > 0);
/** JSON.parse makes infinity of 1e999. */
const isNumber = (value: unknown) => Number.isFinite(value);
const isModelCall: Look = ({ model, stream }) => isText(model) && isOff(stream);

const isMessage = (value: unknown) => isFields(value) && typeof value.role === 'string';

function isVariable(value: unknown): boolean {
  if (!isFields(value) || !isText(value.name)) return false;
  for (const name in value) if (name !== 'name' && name !== 'value') return false;
  return typeof value.value === 'string' || isNumber(value.value);
}

function isVectorItem(value: unknown): boolean {
  if (!isFields(value) || typeof value.id !== 'string') return false;
  for (const name in value) if (name !== 'id' && name !== 'values' && name !== 'metadata') return false;
  const { values, metadata } = value;
  if (!Array.isArray(values) || !values.every(isNumber)) return false;
  if (values.length === 0) return isFields(metadata) && isText(metadata.text);
  return metadata === undefined || isFields(metadata);
}

function isAgentField(name: string, value: unknown): boolean {
  switch (name) {
    case 'input':
      return typeof value === 'string';
    case 'show_tool_calls':
    case 'enable_streaming':
    case 'stream':
      return isOff(value);
    case 'variables':
      return value === null || (Array.isArray(value) && value.every(isVariable));
    case 'thread_id':
    case 'enabled_tools':
    case 'metadata_filter':
    case 'output_schema':
    case 'documents':
      return value === null;
    default:
      return false;
  }
}

export const PLAIN_BODIES = {
  agent: (body) => {
    for (const name in body) if (!isAgentField(name, body[name])) return false;
    return body.input !== undefined;
  },
  vectors: (body) => {
    for (const name in body) if (name !== 'vectors') return false;
    return Array.isArray(body.vectors) && body.vectors.length > 0 && body.vectors.every(isVectorItem);
  },
  'chat/completions': (body) =>
    isModelCall(body) && Array.isArray(body.messages) && body.messages.length > 0 && body.messages.every(isMessage),
  completions: (body) => isModelCall(body) && isTextOrList(body.prompt),
  responses: (body) => isModelCall(body) && isTextOrList(body.input) && isOff(body.background),
  embeddings: (body) => isModelCall(body) && isTextOrList(body.input),
} as const satisfies Record<keyof typeof BODY_SCHEMAS, Look>;
