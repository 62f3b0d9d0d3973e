import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type InvocationResult, REQUEST_TOO_LARGE } from '../functions/invocation.ts';
import type { RoutePlan } from '../template/plan.ts';
import { answerOf, BAD_FUNCTION_ANSWER, gatewayAnswer, type HttpAnswer } from './answer.ts';
import { decodePath, httpEvent } from './event.ts';
import { routeTable } from './routeTable.ts';

/** Quotas of an HTTP API: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html */
const MAX_BODY_BYTES = 10 * 1024 * 1024;
const MAX_HEADER_BYTES = 10_240;

export type HttpApiOptions = {
  /** 0 takes any free one. */
  port: number;
  routes: readonly RoutePlan[];
  invoke(functionArn: string, event: unknown): Promise<InvocationResult>;
};

export type HttpApi = { url: string; close(): Promise<void> };

/** Undefined where the body is over the gateway's limit. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // The rest of a body that is too large is read and dropped, so that the client gets to see the answer.
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
    else chunks.length = 0;
  }
  return bytes > MAX_BODY_BYTES ? undefined : Buffer.concat(chunks);
}

function headerBytes(request: IncomingMessage): number {
  const line = (request.method?.length ?? 0) + (request.url?.length ?? 0);
  return request.rawHeaders.reduce((sum, text) => sum + text.length, line);
}

/** Serves the template's routes on one loopback port, as an HTTP API with payload format 2.0 would. */
export async function startHttpApi(options: HttpApiOptions): Promise<HttpApi> {
  const findRoute = routeTable(options.routes);

  const answer = async (request: IncomingMessage): Promise<HttpAnswer> => {
    if (headerBytes(request) > MAX_HEADER_BYTES) return gatewayAnswer(431, 'Request Header Fields Too Large');
    const match = findRoute(request.method ?? 'GET', decodePath((request.url ?? '/').split('?')[0] ?? '/'));
    if (!match) return gatewayAnswer(404, 'Not Found');
    const body = await readBody(request);
    if (!body) return gatewayAnswer(413, 'Request Entity Too Large');
    const { route } = match;
    const result = await withTimeout(
      options.invoke(route.functionArn, httpEvent(request, body, match, new Date())),
      route.timeoutMs,
    );
    if (result === 'late') return gatewayAnswer(503, 'Service Unavailable');
    if ('error' in result) {
      return result.error.errorType === REQUEST_TOO_LARGE
        ? gatewayAnswer(413, 'Request Entity Too Large')
        : BAD_FUNCTION_ANSWER;
    }
    return answerOf(result.payload) ?? BAD_FUNCTION_ANSWER;
  };

  const server = createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
    void answer(request)
      .catch((error: unknown) => {
        // A client that went away in the middle of its body; anything else is a fault of the local run itself.
        if (!request.destroyed) console.error('The local HTTP API failed:', error);
        return BAD_FUNCTION_ANSWER;
      })
      .then((made) => send(request, response, made));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  // A listening TCP server has an AddressInfo.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function send(request: IncomingMessage, response: ServerResponse, { status, headers, body }: HttpAnswer): void {
  if (response.destroyed) return;
  const bytes = Buffer.from(body);
  const hasBody = status !== 204 && status !== 304;
  response.writeHead(status, {
    ...headers,
    ...(hasBody ? { 'content-length': bytes.length } : {}),
    'apigw-requestid': randomUUID(),
  });
  response.end(hasBody && request.method !== 'HEAD' ? bytes : undefined);
}

async function withTimeout<T>(promise: Promise<T>, timeoutMs: number): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
