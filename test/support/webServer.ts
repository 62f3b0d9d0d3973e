import { readFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/** The authority of the certificate that `startWebServer({ tls: true })` shows: itself, for `files.test`. */
export const TEST_CA = readFileSync(new URL('./certificates/files.test.crt', import.meta.url), 'utf8');
const TEST_KEY = readFileSync(new URL('./certificates/files.test.key', import.meta.url), 'utf8');

export type WebServer = { url: string; port: number; connections: number; requests: string[]; close(): Promise<void> };

/** A real server on a free loopback port that counts what reaches it. */
export async function startWebServer(
  listener: RequestListener,
  options: { host?: string; tls?: boolean } = {},
): Promise<WebServer> {
  const sockets = new Set<Socket>();
  const web: WebServer = {
    url: '',
    port: 0,
    connections: 0,
    requests: [],
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  const counted: RequestListener = (request, response) => {
    web.requests.push(`${request.method} ${request.url}`);
    listener(request, response);
  };
  const server: Server = options.tls
    ? createTlsServer({ key: TEST_KEY, cert: TEST_CA }, counted)
    : createServer(counted);
  server.on('connection', (socket: Socket) => {
    web.connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  web.port = (server.address() as AddressInfo).port;
  web.url = `${options.tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${web.port}`;
  return web;
}
