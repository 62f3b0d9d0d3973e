import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';
import { TABLE } from '../../shared/contract/table.ts';
import { allows, functionNamed, type Right, rightsOf, spelledOut } from './rights.ts';

/** By the SDK's `app/<name>`: the function's name, or its end. */
type CallsByFunction = Map<string, Right[]>;

/**
 * Stands between the functions of a local run and its services, and writes down for each call the rights that IAM would
 * ask of the function's role for it. What is not a function's own call, such as a PUT to a pre-signed URL, is entered
 * under `signed PUT` and `signed GET`.
 */
export function startCallWatch() {
  const calls: CallsByFunction = new Map();
  const servers: Server[] = [];
  const agent = new Agent({ keepAlive: true });

  const enter = (by: string, rights: Right[]): void => void calls.set(by, [...(calls.get(by) ?? []), ...rights]);

  async function pass(target: URL, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host: _, expect: __, ...headers } = incoming.headers;
    const isS3 = incoming.headers['x-amz-target'] === undefined;
    const body = !isS3 || incoming.url?.includes('?delete') ? await bytesOf(incoming) : undefined;
    const rights = isS3 ? s3Rights(incoming, body) : jsonRights(incoming, body);
    const by = callerOf(incoming);
    enter(by, rights);
    const { hostname, port } = target;
    // The host as it was signed.
    const onward = request(
      {
        agent,
        hostname,
        port,
        method: incoming.method,
        path: incoming.url,
        headers: { ...headers, host: incoming.headers.host },
      },
      (answer) => {
        // S3 says that there is none only to who may list the bucket.
        if (answer.statusCode === 404 && isS3 && !by.startsWith('signed'))
          enter(by, [{ action: 's3:ListBucket', resource: 'bucket' }]);
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        pipeline(answer, response, () => undefined);
      },
    );
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    if (body) onward.end(body);
    else pipeline(incoming, onward, () => undefined);
  }

  async function inFrontOf(url: string): Promise<string> {
    const target = new URL(url);
    const handle = (incoming: IncomingMessage, response: ServerResponse) => {
      pass(target, incoming, response).catch(() => response.destroy());
    };
    const server = createServer({ keepAliveTimeout: 120_000, requestTimeout: 0, maxHeaderSize: 64 * 1024 }, handle);
    server.on('checkContinue', (incoming: IncomingMessage, response: ServerResponse) => {
      response.writeContinue();
      handle(incoming, response);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  return {
    calls,
    /** For the local run's option of this name. */
    async between(environment: Record<string, string>): Promise<Record<string, string>> {
      const entries = Object.entries(environment).map(async ([name, value]) => [
        name,
        name.startsWith('AWS_ENDPOINT_URL_') ? await inFrontOf(value) : value,
      ]);
      return Object.fromEntries(await Promise.all(entries));
    },
    async close(): Promise<void> {
      agent.destroy();
      for (const server of servers) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

/** What roles lack for calls that were made, in words. The signer of a URL needs the right that its user makes use of. */
export function missingRights(calls: CallsByFunction, resources: Parameters<typeof rightsOf>[0]): string[] {
  const signers = new Map([
    ['signed PUT', 'http/createUpload'],
    ['signed GET', 'http/downloadBatch'],
  ]);
  const granted = rightsOf(resources);
  return [...calls].flatMap(([by, made]) => {
    const name = signers.get(by) ?? functionNamed(resources, by);
    const refused = made.filter((done) => !granted.get(name)?.some((right) => allows(right, done)));
    return spelledOut(refused).map((what) => `${name} lacks ${what}`);
  });
}

function callerOf({ headers, method, url }: IncomingMessage): string {
  if (url?.includes('X-Amz-Signature=')) return method === 'PUT' ? 'signed PUT' : 'signed GET';
  const [, by] = /\bapp\/(\S+)/.exec(headers['user-agent'] ?? '') ?? [];
  return by ?? 'nobody';
}

async function bytesOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/* ---------------------------------------------------------------- S3 */

function s3Rights({ method = '', url = '/', headers }: IncomingMessage, body: Buffer | undefined): Right[] {
  const { pathname, searchParams: query } = new URL(url, 'http://s3');
  const key = decodeURIComponent(pathname.split('/').slice(2).join('/'));
  const on = (action: string, of = key): Right => ({
    action: `s3:${action}`,
    resource: of === '' ? 'bucket' : `bucket/${of}`,
  });
  if (key === '' && query.has('delete'))
    return [...String(body).matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, of]) => on('DeleteObject', of));
  if (key === '') return [on('ListBucket')];
  if (method === 'GET' && query.has('uploadId')) return [on('ListMultipartUploadParts')];
  if (method === 'DELETE') return [on(query.has('uploadId') ? 'AbortMultipartUpload' : 'DeleteObject')];
  if (method === 'GET' || method === 'HEAD') return [on('GetObject')];
  const source = headers['x-amz-copy-source'];
  const copied = typeof source === 'string' ? decodeURIComponent(source).replace(/^\/?[^/]+\//, '') : undefined;
  return [on('PutObject'), ...(copied === undefined ? [] : [on('GetObject', copied)])];
}

/* ---------------------------------------------------------------- DynamoDB, Step Functions, Secrets Manager */

type Json = Record<string, unknown>;
type Item = Record<string, { S?: string }>;

function jsonRights({ headers }: IncomingMessage, body: Buffer | undefined): Right[] {
  const [service = '', operation = ''] = String(headers['x-amz-target']).split('.');
  const input = JSON.parse(String(body)) as Json;
  if (service.startsWith('DynamoDB'))
    return recordsOf(operation, input).map((resource) => ({ action: `dynamodb:${operation}`, resource }));
  if (service === 'AWSStepFunctions')
    return [
      { action: `states:${operation}`, resource: machineOf(String(input.stateMachineArn ?? input.executionArn)) },
    ];
  return [{ action: `${service}:${operation}`, resource: withoutHash(String(input.SecretId).replace(/-[^-]*$/, '')) }];
}

/** `arn:…:stateMachine:<stack>-BatchMachine01234567` → `BatchMachine`; an execution's with its name behind it. */
function machineOf(arn: string): string {
  const [, , , , , kind, machine = '', name] = arn.split(':');
  return kind === 'execution' ? `executions of ${withoutHash(machine)}:${name}` : withoutHash(machine);
}

const withoutHash = (name: string) => name.replace(/^.*-/, '').replace(/[0-9A-F]{8}$/, '');

/** The records that are asked for, by the partition key that IAM knows as the leading key. */
function recordsOf(operation: string, input: Json): string[] {
  const index = typeof input.IndexName === 'string' ? `table/index/${input.IndexName}` : undefined;
  if (index !== undefined) return [index];
  const leading = (key: Item | undefined) => `table ${key?.[TABLE.partitionKey]?.S}`;
  switch (operation) {
    case 'BatchGetItem':
      return Object.values(input.RequestItems as Record<string, { Keys: Item[] }>).flatMap(({ Keys }) =>
        Keys.map(leading),
      );
    case 'PutItem':
      return [leading(input.Item as Item)];
    case 'Query':
      return [`table ${queriedPartition(input)}`];
    case 'Scan':
      return ['table'];
    default:
      return [leading(input.Key as Item)];
  }
}

/** `#a = :b` where `#a` is the partition key. */
function queriedPartition(input: Json): string | undefined {
  const names = input.ExpressionAttributeNames as Record<string, string>;
  const values = input.ExpressionAttributeValues as Item;
  for (const [, name = '', value = ''] of String(input.KeyConditionExpression).matchAll(/(#\w+) = (:\w+)/g))
    if (names[name] === TABLE.partitionKey) return values[value]?.S;
  return undefined;
}
