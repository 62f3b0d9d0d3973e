import { createServer, type Server, type Socket } from 'node:net';

/** What listens on the machine's own addresses, and counts who gets through to it. */
export type Listeners = { port: number; connections: number; close(): Promise<void> };

/**
 * Listens on one free port of every IPv4 and IPv6 address of the machine, and on the loopback's `named` ports where
 * those are free (where they are not, somebody else listens).
 */
export async function startListeners(named: readonly number[] = []): Promise<Listeners> {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  const listeners: Listeners = {
    port: 0,
    connections: 0,
    async close() {
      for (const socket of sockets) socket.destroy();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
  const listen = async (host: string, port: number): Promise<number> => {
    const server = createServer((socket) => {
      listeners.connections++;
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    });
    await new Promise<void>((resolve, reject) =>
      server.once('error', reject).listen({ host, port, ipv6Only: host.includes(':') }, resolve),
    );
    servers.push(server);
    const address = server.address();
    return typeof address === 'object' && address ? address.port : port;
  };
  const orNobody = (error: NodeJS.ErrnoException) => {
    if (!['EADDRINUSE', 'EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(error.code ?? '')) throw error;
  };
  listeners.port = await listen('0.0.0.0', 0);
  await listen('::', listeners.port).catch(orNobody);
  for (const port of named) {
    for (const host of ['127.0.0.1', '::1']) await listen(host, port).catch(orNobody);
  }
  return listeners;
}
