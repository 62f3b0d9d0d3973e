import type middy from '@middy/core';
import type { Context } from 'aws-lambda';
import type * as z from 'zod';
import { IDEMPOTENCY_HEADER } from '../../contract/batchRequests.ts';
import { checked, type ErrorView, errorView } from '../../contract/errorView.ts';
import { ApiError, type ApiErrorDetail } from '../../domain/errors.ts';
import { BATCH_ID, KEY_ID } from '../../domain/ids.ts';
import { mayManage } from '../../domain/roles.ts';
import type { Log } from '../../ports.ts';
import type { ProjectCaller } from '../../usecases/authenticate.ts';
import { bodyOf, type HttpEvent, type HttpResult, headerOf, queryOf } from './event.ts';

/** The small steps that every HTTP function is made of, in the order in which `httpHandler` uses them. */
type Middleware = middy.MiddlewareObj<HttpEvent, HttpResult, Error, Context>;

const JSON_TYPE = 'application/json; charset=utf-8';

/** An answer of JSON, and only that: no sniffing, no framing, no caching of what one project may see. */
export function jsonResult(statusCode: number, body: unknown, headers: Record<string, string> = {}): HttpResult {
  return {
    statusCode,
    headers: {
      'Content-Type': JSON_TYPE,
      'Cache-Control': 'no-store',
      'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
      'Referrer-Policy': 'no-referrer',
      'Strict-Transport-Security': 'max-age=63072000; includeSubDomains',
      'X-Content-Type-Options': 'nosniff',
      ...headers,
    },
    body: JSON.stringify(body),
  };
}

/** Every error in the contract's one shape. What is not an `ApiError` is our fault: it is logged, and nothing leaks. */
export function errorAnswer(log: Log): Middleware {
  return {
    onError: (request) => {
      const { error, event, context } = request;
      if (error instanceof ApiError) {
        request.response = jsonResult(error.code, errorView(error), error.headers);
        return;
      }
      const requestId = context?.awsRequestId ?? event.requestContext?.requestId ?? 'unknown';
      log.error('request failed', { error });
      const body: ErrorView = {
        error: 'internal_error',
        message: 'Something went wrong on our side.',
        code: 500,
        request_id: requestId,
      };
      request.response = jsonResult(500, body);
    },
  };
}

/** 401 without a valid token, 429 beyond the project's quota, 403 where the role does not allow the route. */
export function projectOnly(
  {
    authenticate,
    admit,
    log,
  }: {
    authenticate: (authorization: string | undefined) => Promise<ProjectCaller>;
    admit: (caller: ProjectCaller) => Promise<void>;
    log: Log;
  },
  access: 'read' | 'manage',
): Middleware {
  return {
    before: async ({ event, context }) => {
      const caller = await authenticate(headerOf(event, 'authorization'));
      event.caller = caller;
      // From here on, so that the line of log of a request that is refused names its project.
      log.about(requestIds(event, context));
      await admit(caller);
      if (access === 'manage' && !mayManage(caller.role))
        throw new ApiError('forbidden', `The role ${caller.role} may read, but not do this: owner and admin may.`);
    },
  };
}

/** 401 without the operator's key. */
export function operatorOnly(authenticate: (managementKey: string | undefined) => Promise<void>): Middleware {
  return { before: ({ event }) => authenticate(headerOf(event, 'users-management-key')) };
}

/** 415, 413 and 400 for a body that is no JSON of a bearable size. Where it is optional, none at all will do. */
export function jsonBody(maxBytes: number, { optional }: { optional: boolean }): Middleware {
  return {
    before: ({ event }) => {
      const bytes = bodyOf(event);
      if (optional && bytes.length === 0) return;
      const type = headerOf(event, 'content-type') ?? '';
      if (!/^application\/([\w.-]+\+)?json *(; *charset="?utf-8"? *)?$/i.test(type.trim()))
        throw new ApiError('unsupported_media_type', 'The body must be sent as Content-Type: application/json.');
      if (bytes.length > maxBytes) throw new ApiError('payload_too_large', `The body has more than ${maxBytes} bytes.`);
      event.json = parseJson(bytes);
    },
  };
}

/** Ours nest two deep. What nests without end ends the recursions behind us (a hash, a schema), and would be our fault. */
const MAX_JSON_DEPTH = 64;

function parseJson(bytes: Buffer): unknown {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ApiError('invalid_request', 'The body is not JSON.', {
      details: [{ param: 'body', message: 'must be JSON in UTF-8' }],
      cause: error,
    });
  }
  refuseDeepAndProto(json, 0);
  return json;
}

function refuseDeepAndProto(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth >= MAX_JSON_DEPTH)
    throw new ApiError('invalid_request', 'The body is nested too deeply.', {
      details: [{ param: 'body', message: `must not be nested more than ${MAX_JSON_DEPTH} deep` }],
    });
  // zod leaves this one out of records without a word.
  if (Object.hasOwn(value, '__proto__'))
    throw new ApiError('invalid_request', 'The request is not valid: see __proto__.', {
      details: [{ param: '__proto__', message: 'is not allowed as the name of a field' }],
    });
  for (const inner of Object.values(value)) refuseDeepAndProto(inner, depth + 1);
}

type RequestSchemas = Record<'params' | 'query' | 'headers', z.ZodType> & { body: z.ZodType | undefined };

/**
 * Checks all parts of the request at once, so that one answer names everything that is wrong. `otherwise` may still have
 * an answer to one that is refused.
 */
export function checkedBy(
  schemas: RequestSchemas,
  otherwise?: (event: HttpEvent) => Promise<HttpResult | undefined>,
): Middleware {
  return {
    before: async ({ event }) => {
      let details: ApiErrorDetail[] = [];
      const check = (schema: z.ZodType, value: unknown, root: string): unknown => {
        const part = checked(schema, value, root);
        // Not pushed: there can be more of them than a call takes arguments.
        details = details.concat(part.details);
        return part.value;
      };
      const request = {
        params: check(schemas.params, { ...event.pathParameters }, 'path'),
        query: check(schemas.query, queryOf(event), 'query'),
        headers: check(schemas.headers, headersOfInterest(event), 'headers'),
        body: schemas.body && check(schemas.body, event.json, 'body'),
        sent: event.json,
      };
      if (details.length > 0) {
        const answer = await otherwise?.(event);
        if (answer !== undefined) return answer;
        const names = [...new Set(details.map((detail) => detail.param))].slice(0, 5).join(', ');
        throw new ApiError('invalid_request', `The request is not valid: see ${names}.`, { details });
      }
      event.checked = request;
      return undefined;
    },
  };
}

const headersOfInterest = (event: HttpEvent) => ({ [IDEMPOTENCY_HEADER]: headerOf(event, IDEMPOTENCY_HEADER) });

/**
 * What every line of a request says of it. The route, not the path: clients put into a path whatever they like. The
 * gateway's own id is what the client sees (`apigw-requestid`) and what the gateway's log has.
 */
function requestIds(event: HttpEvent, context: Context): Record<string, string | undefined> {
  const { batch_id, key_id } = event.pathParameters ?? {};
  return {
    request_id: context.awsRequestId,
    api_request_id: event.requestContext.requestId,
    method: event.requestContext.http.method,
    route: event.routeKey,
    project_id: event.caller?.projectId,
    batch_id: BATCH_ID.test(batch_id ?? '') ? batch_id : undefined,
    key_id: KEY_ID.test(key_id ?? '') ? key_id : undefined,
  };
}

/** One line a request, answered well or not: ids and numbers only. */
export function requestLog(log: Log): Middleware {
  const write: NonNullable<Middleware['after']> = ({ response }) =>
    log.info('request', { status: response?.statusCode });
  return {
    before: ({ event, context }) => log.about(requestIds(event, context)),
    after: write,
    onError: write,
  };
}
