import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * The HTTP front that AWS services of the "JSON 1.0" and "JSON 1.1" protocols share: one POST route, the operation in
 * `X-Amz-Target: <service>.<operation>`, errors as `{ "__type", "message" }`.
 * https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
 */

// StartExecution's input is at most 256 KiB of text, which JSON may escape to six times that; the rest is small.
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** An error that the client's SDK turns into an exception of that name. */
export class AwsJsonError extends Error {
  override readonly name: string;
  readonly status: number;
  constructor(name: string, message: string, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}

export type AwsJsonOperation = (input: Record<string, unknown>) => unknown;

export type AwsJsonServer = { url: string; close(): Promise<void> };

/** Serves on 127.0.0.1. Signatures are not looked at: whoever reaches the loopback address is let in. */
export async function startAwsJson(options: {
  /** As the target header names it: `AWSStepFunctions`, `secretsmanager`. */
  service: string;
  version: '1.0' | '1.1';
  operations: Record<string, AwsJsonOperation>;
  /** 0 (the default): any free port. */
  port?: number;
}): Promise<AwsJsonServer> {
  const contentType = `application/x-amz-json-${options.version}`;

  async function answer(request: IncomingMessage): Promise<unknown> {
    // A page in a browser cannot send this type to another origin without asking first, and is never answered yes.
    if (request.method !== 'POST' || !request.headers['content-type']?.startsWith(contentType)) {
      throw new AwsJsonError('UnknownOperationException', `Only POST with ${contentType} is served here.`, 404);
    }
    const [service, name] = String(request.headers['x-amz-target'] ?? '').split('.', 2);
    const operation =
      service === options.service && name !== undefined && Object.hasOwn(options.operations, name)
        ? options.operations[name]
        : undefined;
    if (!operation) {
      const target = `${service}.${name}`;
      throw new AwsJsonError('UnknownOperationException', `The local run does not know the operation ${target}.`);
    }
    return await operation(parseObject(await readBody(request)));
  }

  const server = createServer((request, response) => {
    answer(request)
      .then((output) => send(response, contentType, 200, output ?? {}))
      .catch((error: unknown) => {
        const known = error instanceof AwsJsonError;
        const name = known ? error.name : 'InternalFailure';
        const message = error instanceof Error ? error.message : String(error);
        send(response, contentType, known ? error.status : 500, { __type: name, message });
      });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  // A TCP server that is listening has an address of this shape.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function send(response: ServerResponse, contentType: string, status: number, body: unknown): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': contentType, 'x-amzn-requestid': randomUUID() });
  response.end(JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      throw new AwsJsonError('RequestEntityTooLargeException', `A request is at most ${MAX_BODY_BYTES} bytes.`, 413);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text === '' ? '{}' : text);
  } catch (error) {
    throw new AwsJsonError('SerializationException', `The body is not JSON: ${String(error)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AwsJsonError('SerializationException', 'The body is not a JSON object.');
  }
  // It is an object and no array, checked just above.
  return value as Record<string, unknown>;
}
