import { MODEL_ENDPOINTS, type ModelEndpoint } from '../modelEndpoints.ts';
import { eachMember, nameAt } from './jsonText.ts';

/**
 * What a worker has to know of a line for one of OpenAI's endpoints. The rest goes on as it is, byte for byte.
 *
 * `body` and `models`: from a byte of the line to the one behind the last; `models` are the values of the body's members
 * of that name, of which there is one, unless the client wrote it twice.
 */
export type WrittenCall = { customId: string; endpoint: ModelEndpoint; model: string; body: Span; models: Span[] };
type Span = { start: number; end: number };

/** A line for `/v1/embeddings` has to be parsed all the same: how much it asks for is told by the number of its texts. */
const BY_TEXT = MODEL_ENDPOINTS.filter((endpoint) => endpoint !== 'embeddings').map(
  (endpoint) => [endpoint, `"/v1/${endpoint}"`] as const,
);

/**
 * Reads a line that Validate has found good by its text alone, in a fifth of the time that parsing and checking it takes:
 * the file is the very same, its ETag says so. Undefined where the line has to be read as a whole. `latin1`: the line's
 * bytes, each as one character; all that JSON goes by is ASCII.
 */
export function readWrittenCall(content: Buffer, latin1: string): WrittenCall | undefined {
  let id: Span | undefined;
  let url = '';
  let body: Span | undefined;
  eachMember(latin1, 0, (nameStart, nameEnd, start, end) => {
    switch (nameAt(latin1, nameStart, nameEnd)) {
      case 'custom_id':
        id = { start, end };
        break;
      case 'url':
        url = latin1.slice(start, end);
        break;
      case 'body':
        body = { start, end };
    }
  });
  const endpoint = BY_TEXT.find(([, written]) => written === url)?.[0];
  if (endpoint === undefined || id === undefined || body === undefined) return undefined;
  const models: Span[] = [];
  eachMember(latin1, body.start, (nameStart, nameEnd, start, end) => {
    if (nameAt(latin1, nameStart, nameEnd) === 'model') models.push({ start, end });
  });
  const last = models.at(-1);
  if (last === undefined) return undefined;
  return { customId: textAt(content, id), endpoint, model: textAt(content, last), body, models };
}

/** Of a line that is good both are strings. */
function textAt(content: Buffer, { start, end }: Span): string {
  return JSON.parse(content.toString('utf8', start, end)) as string;
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
