import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { ApiError } from '../../domain/errors.ts';
import type { ProjectCaller } from '../../usecases/authenticate.ts';

/** The gateway's event, and what the middlewares found out about it on the way to the handler. */
export type HttpEvent = APIGatewayProxyEventV2 & { caller?: ProjectCaller; json?: unknown; checked?: unknown };
export type HttpResult = APIGatewayProxyStructuredResultV2;

/** The path behind the stage's name: HTTP API leaves the name of a stage other than `$default` in front. */
export function pathOf(event: APIGatewayProxyEventV2): string {
  const prefix = `/${event.requestContext.stage}`;
  return event.rawPath.startsWith(`${prefix}/`) ? event.rawPath.slice(prefix.length) : event.rawPath;
}

/** By lower-case name; HTTP API gives them so, but a caller of the function itself may not. */
export function headerOf(event: APIGatewayProxyEventV2, name: string): string | undefined {
  const lower = name.toLowerCase();
  const found = Object.entries(event.headers).find(([header]) => header.toLowerCase() === lower);
  return found?.[1];
}

/**
 * Query parameters of the raw query string: the event's own map joins repeated ones with commas, and `?take=1&take=2`
 * must be refused, not guessed at.
 */
export function queryOf(event: APIGatewayProxyEventV2): Record<string, string> {
  const query = new Map<string, string>();
  const repeated = new Set<string>();
  for (const [name, value] of new URLSearchParams(event.rawQueryString)) {
    if (query.has(name)) repeated.add(name);
    query.set(name, value);
  }
  if (repeated.size > 0)
    throw new ApiError('invalid_request', 'A query parameter is given more than once.', {
      details: [...repeated].map((param) => ({ param, message: 'must be given once' })),
    });
  // From entries, so that a parameter named __proto__ is one more unknown parameter.
  return Object.fromEntries(query);
}

/** The body's bytes as they were sent. */
export function bodyOf(event: APIGatewayProxyEventV2): Buffer {
  return Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8');
}
