import { createServer, type Socket } from 'node:net';

/** A TCP server on a free loopback port that answers in bytes of its own, not in HTTP. */
export type RawServer = {
  port: number;
  /** Bytes that the peers took, those in the kernel's buffers included. */
  sentBytes(): number;
  /** Resolves once no connection is open. */
  deserted(): Promise<void>;
  close(): Promise<void>;
};

/** `answer` is called with the first bytes that a connection has sent; `greet` as soon as it is there. */
export async function startRawServer(behaviour: {
  answer?: (socket: Socket, request: string) => void;
  greet?: (socket: Socket) => void;
}): Promise<RawServer> {
  const open = new Set<Socket>();
  let sent = 0;
  let waiting: (() => void)[] = [];
  const server = createServer((socket) => {
    open.add(socket);
    // What the peer does to its connection is what is tested.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sent += socket.bytesWritten;
      open.delete(socket);
      if (open.size > 0) return;
      for (const resolve of waiting) resolve();
      waiting = [];
    });
    behaviour.greet?.(socket);
    socket.once('data', (bytes: Buffer) => behaviour.answer?.(socket, bytes.toString('latin1')));
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('A TCP server has a port.');
  return {
    port: address.port,
    sentBytes: () => sent + [...open].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
    deserted: () => (open.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** Writes `start`, and then `piece` again and again for as long as anybody takes it. */
export function flood(socket: Socket, start: string, piece: string | Uint8Array): void {
  const more = (): void => {
    if (socket.destroyed) return;
    if (socket.write(piece)) setImmediate(more);
    else socket.once('drain', more);
  };
  socket.write(start, more);
}

/** Writes `start`, and then one byte of `piece` every `ms`, for as long as anybody listens. */
export function dribble(socket: Socket, start: string, piece: string, ms: number): void {
  let at = 0;
  socket.write(start);
  const timer = setInterval(() => socket.write(piece.charAt(at++ % piece.length)), ms);
  socket.on('close', () => clearInterval(timer));
}
