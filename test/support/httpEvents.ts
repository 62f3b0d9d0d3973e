import type { APIGatewayProxyEventV2, Context } from 'aws-lambda';
import { type RouteName, routes } from '../../shared/contract/routes.ts';

export type Sent = {
  path?: string;
  method?: string;
  params?: Record<string, string>;
  query?: string;
  headers?: Record<string, string>;
  body?: unknown;
  /** Sent as it is, instead of `body`. */
  rawBody?: string;
  base64?: boolean;
  stage?: string;
};

/** The event of payload format 2.0 that HTTP API makes of such a request. */
export function httpEvent(route: RouteName | '$default', sent: Sent = {}): APIGatewayProxyEventV2 {
  const { path = '/', method = 'GET' } = route === '$default' ? {} : routes[route];
  const { query = '', stage = '$default', base64 = false } = sent;
  const text = sent.rawBody ?? (sent.body === undefined ? undefined : JSON.stringify(sent.body));
  const json = sent.body === undefined ? {} : { 'content-type': 'application/json' };
  const rawPath = sent.path ?? path.replace(/\{(\w+)\}/g, (_, name: string) => sent.params?.[name] ?? '');
  return {
    version: '2.0',
    routeKey: route === '$default' ? route : `${method} ${path}`,
    rawPath,
    rawQueryString: query,
    headers: { host: 'api.example.com', ...json, ...sent.headers },
    ...(query === '' ? {} : { queryStringParameters: Object.fromEntries(new URLSearchParams(query)) }),
    ...(sent.params ? { pathParameters: sent.params } : {}),
    requestContext: {
      accountId: '000000000000',
      apiId: 'api',
      domainName: 'api.example.com',
      domainPrefix: 'api',
      http: {
        method: sent.method ?? method,
        path: rawPath,
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: 'test',
      },
      requestId: 'gateway-request',
      routeKey: route,
      stage,
      time: '15/Jan/2026:10:30:00 +0000',
      timeEpoch: 1_768_473_000_000,
    },
    ...(text === undefined ? {} : { body: base64 ? Buffer.from(text).toString('base64') : text }),
    isBase64Encoded: base64,
  };
}

/** A Lambda context with time left. */
export function lambdaContext(remainingMs = 29_000): Context {
  const unused = () => {
    throw new Error('Node 24 has no such callback');
  };
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: 'test',
    functionVersion: '$LATEST',
    invokedFunctionArn: 'arn:aws:lambda:us-east-1:000000000000:function:test',
    memoryLimitInMB: '512',
    awsRequestId: 'lambda-request',
    logGroupName: 'test',
    logStreamName: 'test',
    getRemainingTimeInMillis: () => remainingMs,
    done: unused,
    fail: unused,
    succeed: unused,
  };
}
