import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Storage } from './action.ts';
import { BodyFiles } from './bodyFiles.ts';
import { ObjectIndex } from './objectIndex.ts';
import { findOperation } from './operations.ts';
import { S3Error } from './s3Error.ts';
import { parseTarget } from './s3Request.ts';
import { type Credentials, createVerifier } from './signature.ts';

export type S3Options = {
  /** Made if it is not there. One server at a time can have it. */
  dataDir: string;
  credentials: Credentials;
  region: string;
  /** 0, the default: any free one. */
  port?: number;
  /** Milliseconds since the epoch. */
  now?: () => number;
  /** Told of every fault that was answered with a 500. */
  onFault?: (error: unknown) => void;
};

export type S3Server = {
  /** `http://127.0.0.1:<port>` */
  url: string;
  createBucket(name: string): void;
  close(): Promise<void>;
};

// A key has up to 1,024 bytes (S3 user guide, "Naming Amazon S3 objects").
const MAX_KEY_BYTES = 1024;
// 1,024 bytes of key, percent-encoded, a pre-signed URL's parameters, and metadata.
const MAX_HEADER_BYTES = 64 * 1024;

/** Starts an S3 for path-style requests on 127.0.0.1, its data in `dataDir`. */
export async function startS3(options: S3Options): Promise<S3Server> {
  const now = options.now ?? Date.now;
  mkdirSync(options.dataDir, { recursive: true });
  const index = openIndex(options.dataDir);
  const bodies = new BodyFiles(join(options.dataDir, 'bodies'));
  bodies.sweep(index.liveBodies());
  const storage: Storage = { index, bodies, now };
  const verify = createVerifier({ credentials: options.credentials, region: options.region, now });
  const onFault = options.onFault ?? ((error: unknown) => console.error('local S3:', error));

  async function handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = randomUUID();
    response.setHeader('x-amz-request-id', id);
    const target = message.url ?? '/';
    try {
      const method = message.method ?? '';
      const parsed = parseTarget(target);
      const request = { id, method, message, ...parsed, authorization: verify({ method, message, ...parsed }) };
      const operation = findOperation(request);
      storage.index.requireBucket(request.bucket);
      if (Buffer.byteLength(request.key) > MAX_KEY_BYTES)
        throw new S3Error('KeyTooLongError', 'Your key is too long', { MaxSizeAllowed: MAX_KEY_BYTES });
      // Only now is a client that waits for it told to send its body.
      if (message.headers.expect !== undefined) response.writeContinue();
      await operation.action(storage, request, response);
    } catch (error) {
      answerError(error, message, response, id);
    }
  }

  function answerError(error: unknown, message: IncomingMessage, response: ServerResponse, id: string): void {
    // The client has gone, or is being sent a body already: all that can be told is the end of the connection.
    if (message.errored || response.destroyed || response.headersSent) {
      if (!response.destroyed && !(error instanceof S3Error)) onFault(error);
      response.destroy();
      return;
    }
    if (!(error instanceof S3Error)) onFault(error);
    const fault =
      error instanceof S3Error
        ? error
        : new S3Error('InternalError', 'We encountered an internal error. Please try again.');
    const path = (message.url ?? '/').split('?', 1)[0] ?? '/';
    const text = message.method === 'HEAD' || fault.status === 304 ? '' : fault.toXml(path, id);
    response.writeHead(fault.status, {
      ...fault.headers,
      ...(text === '' ? {} : { 'content-type': 'application/xml', 'content-length': String(Buffer.byteLength(text)) }),
    });
    response.end(text);
  }

  const inFlight = new Set<Promise<void>>();
  const onRequest = (message: IncomingMessage, response: ServerResponse) => {
    // Handling never rejects: it answers its errors.
    const handled = handle(message, response).finally(() => inFlight.delete(handled));
    inFlight.add(handled);
  };
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    // A large body over a slow link takes as long as it takes.
    requestTimeout: 0,
    // Longer than a client's pool keeps a connection, so that none is closed while a request is on its way.
    keepAliveTimeout: 120_000,
    noDelay: true,
  });
  server.on('request', onRequest);
  server.on('checkContinue', onRequest);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  }).catch((error) => {
    index.close();
    throw error;
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server listens on no port.');

  return {
    url: `http://127.0.0.1:${address.port}`,
    createBucket(name) {
      if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name))
        throw new S3Error('InvalidBucketName', 'The specified bucket is not valid.', { BucketName: name });
      index.createBucket(name);
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      await Promise.all(inFlight);
      index.close();
    },
  };
}

function openIndex(dataDir: string): ObjectIndex {
  try {
    return new ObjectIndex(join(dataDir, 'index.sqlite'));
  } catch (error) {
    if (error instanceof Error && error.message.includes('database is locked'))
      throw new Error(`The data folder ${dataDir} is in use by another process.`, { cause: error });
    throw error;
  }
}
