import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { ACCOUNT } from '../template/localNames.ts';
import type { RouteMatch } from './routeTable.ts';

/**
 * The event of payload format 2.0, as an HTTP API gives it to a function.
 * https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
 */
export type HttpEvent = {
  version: '2.0';
  routeKey: string;
  rawPath: string;
  rawQueryString: string;
  cookies?: string[];
  headers: Record<string, string>;
  queryStringParameters?: Record<string, string>;
  pathParameters?: Record<string, string>;
  requestContext: Record<string, unknown>;
  body?: string;
  isBase64Encoded: boolean;
};

/** The path as the gateway hands it on: decoded, unlike a REST API's. A path that cannot be decoded stays as it is. */
export function decodePath(rawPath: string): string {
  try {
    return decodeURIComponent(rawPath);
  } catch (error) {
    if (error instanceof URIError) return rawPath;
    throw error;
  }
}

/**
 * Bodies that come as text: `text/*` and these; all else, and a body without a type, comes as base64. Observed on AWS:
 * https://github.com/ministackorg/ministack/pull/766
 */
const TEXT_TYPES = /^(?:text\/.*|application\/(?:json|xml|javascript))$/i;

function isText(contentType: string | undefined): boolean {
  return TEXT_TYPES.test((contentType ?? '').split(';')[0]?.trim() ?? '');
}

function queryParameters(rawQueryString: string): Record<string, string> | undefined {
  const parameters: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(rawQueryString)) {
    parameters[name] = Object.hasOwn(parameters, name) ? `${parameters[name]},${value}` : value;
  }
  return rawQueryString === '' ? undefined : parameters;
}

/** `15/Jan/2026:10:30:00 +0000`, as in an access log. */
function logTime(now: Date): string {
  const month = now.toLocaleString('en-US', { month: 'short', timeZone: 'UTC' });
  const [date = '', time = ''] = now.toISOString().split('T');
  const [year, , day] = date.split('-');
  return `${day}/${month}/${year}:${time.slice(0, 8)} +0000`;
}

export function httpEvent(request: IncomingMessage, body: Buffer, match: RouteMatch, now: Date): HttpEvent {
  const [rawTarget = '/', ...rest] = (request.url ?? '/').split('?');
  const rawQueryString = rest.join('?');
  const path = decodePath(rawTarget);
  const sourceIp = (request.socket.remoteAddress ?? '127.0.0.1').replace(/^::ffff:/, '');
  const headers: Record<string, string> = {};
  for (const [name, values] of Object.entries(request.headersDistinct)) {
    // The gateway moves cookies to a field of their own and keeps what is between two hops.
    if (name !== 'cookie' && name !== 'connection' && values) headers[name] = values.join(',');
  }
  headers['x-forwarded-for'] = sourceIp;
  headers['x-forwarded-port'] = String(request.socket.localPort ?? 80);
  headers['x-forwarded-proto'] = 'http';
  const cookies = request.headersDistinct.cookie?.flatMap((line) => line.split(/;\s*/));
  const query = queryParameters(rawQueryString);
  const text = isText(headers['content-type']);
  return {
    version: '2.0',
    routeKey: match.routeKey,
    rawPath: path,
    rawQueryString,
    ...(cookies ? { cookies } : {}),
    headers,
    ...(query ? { queryStringParameters: query } : {}),
    ...(match.pathParameters ? { pathParameters: match.pathParameters } : {}),
    requestContext: {
      accountId: ACCOUNT,
      apiId: 'local',
      domainName: headers.host ?? '127.0.0.1',
      domainPrefix: 'local',
      http: {
        method: request.method ?? 'GET',
        path,
        protocol: `HTTP/${request.httpVersion}`,
        sourceIp,
        userAgent: headers['user-agent'] ?? '',
      },
      requestId: randomUUID(),
      routeKey: match.routeKey,
      stage: '$default',
      time: logTime(now),
      timeEpoch: now.getTime(),
    },
    ...(body.length > 0 ? { body: body.toString(text ? 'utf8' : 'base64') } : {}),
    isBase64Encoded: body.length > 0 && !text,
  };
}
