import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import dynalite from 'dynalite';

/**
 * dynalite in a thread of its own: it parses and compares in JavaScript, which would hold up the other services, and
 * it throws out of its request handler when a client goes away in the middle of a request (a terminated sandbox
 * does), which must not end the whole local run.
 */
const port = parentPort;
if (!port) throw new Error('dynaliteThread.ts runs in a worker thread');
// Handed over by startDynamoDb.
const { path } = workerData as { path: string };

process.on('uncaughtException', (error: Error & { code?: string }) => {
  if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') console.error('dynalite:', error);
});

const server = dynalite({ path, createTableMs: 0, updateTableMs: 0, deleteTableMs: 0 });
const [serve] = server.listeners('request') as ((request: IncomingMessage, response: ServerResponse) => void)[];
server.removeAllListeners('request');
server.on('request', (request: IncomingMessage, response: ServerResponse) => {
  // dynalite lets every web page in; no page has business here.
  if (request.headers.origin !== undefined) response.writeHead(403).end();
  else serve?.(request, response);
});
server.listen(0, '127.0.0.1', () => port.postMessage({ port: (server.address() as AddressInfo).port }));

port.on('message', () => {
  server.close(() => port.postMessage('closed'));
  server.closeAllConnections();
});
