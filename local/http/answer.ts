import { isObject } from '../template/intrinsics.ts';

/** What goes back over the wire. A header with several values is sent once for each. */
export type HttpAnswer = { status: number; headers: Record<string, string | string[]>; body: Buffer | string };

/** An answer that the gateway makes by itself. */
export function gatewayAnswer(status: number, message: string): HttpAnswer {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ message }) };
}

export const BAD_FUNCTION_ANSWER = gatewayAnswer(500, 'Internal Server Error');

function isHeaderValue(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

/**
 * A function's answer of payload format 2.0: an object with `statusCode`, or anything else, which is then the JSON body
 * of a 200. Undefined where the gateway could make nothing of it.
 */
export function answerOf(payload: unknown): HttpAnswer | undefined {
  if (!isObject(payload) || !('statusCode' in payload)) {
    const body = typeof payload === 'string' ? payload : JSON.stringify(payload ?? null);
    return { status: 200, headers: { 'content-type': 'application/json' }, body };
  }
  const status = Number(payload.statusCode);
  if (!Number.isInteger(status) || status < 200 || status > 599) return undefined;
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(isObject(payload.headers) ? payload.headers : {})) {
    if (isHeaderValue(value)) headers[name.toLowerCase()] = String(value);
  }
  headers['content-type'] ??= 'text/plain; charset=utf-8';
  if (Array.isArray(payload.cookies) && payload.cookies.length > 0) headers['set-cookie'] = payload.cookies.map(String);
  const body = payload.body ?? '';
  if (typeof body !== 'string') return undefined;
  return { status, headers, body: payload.isBase64Encoded === true ? Buffer.from(body, 'base64') : body };
}
