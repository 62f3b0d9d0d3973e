import { Socket } from 'node:net';
import { vi } from 'vitest';

/**
 * Every attempt of this process to connect a socket, as `address:port`, whether anybody is there or not: listeners can
 * only count what reaches this machine.
 */
export function watchConnectionAttempts(): { attempts: string[]; stop(): void } {
  const attempts: string[] = [];
  const connect = Socket.prototype.connect;
  const spy = vi.spyOn(Socket.prototype, 'connect').mockImplementation(function (this: Socket, ...args: unknown[]) {
    this.on('connectionAttempt', (address: string, port: number) => attempts.push(`${address}:${port}`));
    return Reflect.apply(connect, this, args) as Socket;
  } as typeof connect);
  return { attempts, stop: () => spy.mockRestore() };
}
