import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveExample } from './exampleFiles.ts';
import { type Notification, readNotification } from './receivedNotification.ts';

export type Demo = {
  url: string;
  /** Where the example of that name is served, for `input_file_url`. */
  exampleUrl(name: string): string;
  /** For `callback_url`. */
  receiverUrl: string;
  /** The newest ones, oldest first. */
  notifications(): Notification[];
  close(): Promise<void>;
};

/** A notification is a few hundred bytes (CONTRACT "Notifications"). */
const MAX_BODY_BYTES = 64 * 1024;
const KEPT_NOTIFICATIONS = 100;

/**
 * A second loopback server for trying things out: it serves the example inputs, and receives notifications and checks
 * their signatures.
 */
export async function startDemo(options: {
  port: number;
  examplesDir: string;
  secret: string;
  onNotification: (notification: Notification) => void;
}): Promise<Demo> {
  const received: Notification[] = [];

  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
    }
    const body = Buffer.concat(chunks).toString('utf8');
    const notification = bytes > MAX_BODY_BYTES ? undefined : readNotification(options.secret, request.headers, body);
    if (!notification) return void response.writeHead(400).end();
    received.push(notification);
    if (received.length > KEPT_NOTIFICATIONS) received.shift();
    options.onNotification(notification);
    // What a receiver does with a signature that does not hold: refuse.
    response.writeHead(notification.signatureHolds ? 204 : 401).end();
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname } = new URL(request.url ?? '/', 'http://demo');
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (pathname === '/notifications' && request.method === 'POST') await receive(request, response);
    else if (pathname === '/notifications' && isRead) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(received));
    } else if (pathname.startsWith('/examples/') && isRead) {
      await serveExample(options.examplesDir, pathname.slice('/examples/'.length), request, response);
    } else response.writeHead(404).end('Not found\n');
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (!request.destroyed) console.error('The demo server failed:', error);
      response.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  // A listening TCP server has an AddressInfo.
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    exampleUrl: (name) => `${url}/examples/${encodeURIComponent(name)}`,
    receiverUrl: `${url}/notifications`,
    notifications: () => [...received],
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
