import type { Client } from 'undici';
import { describe, expect, it } from 'vitest';
import { Connections } from '../../shared/providers/connections.ts';

function someConnections(most: number) {
  let made = 0;
  let destroyed = 0;
  // Nothing but its end is asked of a client here.
  const make = () => ({ number: ++made, destroy: async () => void destroyed++ }) as unknown as Client;
  return { connections: new Connections(most, make), made: () => made, destroyed: () => destroyed };
}

describe('connections', () => {
  it('takes the one that was free last, and makes another only where none is free', () => {
    const { connections, made } = someConnections(3);
    const [first, second] = [connections.take(), connections.take()];
    connections.giveBack(first);
    connections.giveBack(second);
    expect(connections.take()).toBe(second);
    expect(connections.take()).toBe(first);
    expect(made()).toBe(2);
    expect(connections.take()).not.toBe(first);
    expect(made()).toBe(3);
  });

  it('has a call wait behind another where all are taken, and gives that one out once both have ended', async () => {
    const { connections, made, destroyed } = someConnections(2);
    const [first, second] = [connections.take(), connections.take()];
    const third = connections.take();
    const fourth = connections.take();
    expect(new Set([first, second])).toEqual(new Set([third, fourth]));
    connections.giveBack(first);
    expect(connections.take()).toBe(first);
    connections.giveBack(second);
    connections.giveBack(second);
    expect(connections.take()).toBe(second);
    expect(made()).toBe(2);
    await connections.destroy();
    expect(destroyed()).toBe(2);
  });
});
