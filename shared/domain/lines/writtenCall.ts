import { MODEL_ENDPOINTS, type ModelEndpoint } from '../modelEndpoints.ts';
import { eachMember, endOfValue, hasEscapes } from './jsonText.ts';

/**
 * What a worker has to know of a line for one of OpenAI's endpoints. The rest goes on as it is, byte for byte.
 *
 * `body` and `models`: from a byte of the line to the one behind the last; `models` are the values of the body's members
 * of that name, of which there is one, unless the client wrote it twice.
 */
export type WrittenCall = { customId: string; endpoint: ModelEndpoint; model: string; body: Span; models: Span[] };
type Span = { start: number; end: number };

const OPEN_BRACE = 0x7b;

/** A line for `/v1/embeddings` has to be parsed all the same: how much it asks for is told by the number of its texts. */
const BY_TEXT = MODEL_ENDPOINTS.filter((endpoint) => endpoint !== 'embeddings').map(
  (endpoint) => [endpoint, `"/v1/${endpoint}"`] as const,
);

/**
 * Reads a line that Validate has found good by its text alone, in a third of the time that parsing and checking it takes:
 * the file is the very same, its ETag says so. Undefined where the line has to be read as a whole. `latin1`: the line's
 * bytes, each as one character; all that JSON goes by is ASCII.
 */
export function readWrittenCall(content: Buffer, latin1: string): WrittenCall | undefined {
  let id: Span | undefined;
  let endpoint: ModelEndpoint | undefined;
  let body: Span | undefined;
  let models: Span[] = [];
  /** A name with escapes may be any of those that are asked for. */
  let isPlain = true;
  const inBody = (nameStart: number, nameEnd: number, start: number): number => {
    const end = endOfValue(latin1, start);
    if (latin1.startsWith('"model"', nameStart)) models.push({ start, end });
    else isPlain &&= !hasEscapes(latin1, nameStart, nameEnd);
    return end;
  };
  eachMember(latin1, latin1.indexOf('{'), (nameStart, nameEnd, start) => {
    if (latin1.startsWith('"body"', nameStart)) {
      models = [];
      body = undefined;
      // Of two bodies the last counts, and the first may be anything.
      if (latin1.charCodeAt(start) !== OPEN_BRACE) return endOfValue(latin1, start);
      body = { start, end: eachMember(latin1, start, inBody) };
      return body.end;
    }
    const end = endOfValue(latin1, start);
    if (latin1.startsWith('"custom_id"', nameStart)) id = { start, end };
    else if (latin1.startsWith('"url"', nameStart)) endpoint = endpointAt(latin1, start, end);
    else isPlain &&= !hasEscapes(latin1, nameStart, nameEnd);
    return end;
  });
  if (!isPlain || endpoint === undefined || body === undefined) return undefined;
  const customId = stringAt(content, id);
  const model = stringAt(content, models.at(-1));
  if (customId === undefined || model === undefined) return undefined;
  return { customId, endpoint, model, body, models };
}

/** An endpoint that is written with escapes is not found. */
function endpointAt(latin1: string, start: number, end: number): ModelEndpoint | undefined {
  for (const [endpoint, written] of BY_TEXT)
    if (end - start === written.length && latin1.startsWith(written, start)) return endpoint;
  return undefined;
}

/** Made anew: a piece of the line's text would keep its whole block in memory. */
function stringAt(content: Buffer, span: Span | undefined): string | undefined {
  if (span === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(content.toString('utf8', span.start, span.end));
    return typeof value === 'string' ? value : undefined;
  } catch (error) {
    // The line is not good after all: whoever reads it as a whole will say why.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The line's body with another model in it. `model`: JSON text. */
export function bodyWithModel(content: Buffer, { body, models }: WrittenCall, model: Buffer): Buffer {
  const bytes = models.reduce((sum, { start, end }) => sum + model.length - (end - start), body.end - body.start);
  const written = Buffer.allocUnsafe(bytes);
  let at = 0;
  let copied = body.start;
  for (const { start, end } of models) {
    at += content.copy(written, at, copied, start);
    at += model.copy(written, at);
    copied = end;
  }
  content.copy(written, at, copied, body.end);
  return written;
}
