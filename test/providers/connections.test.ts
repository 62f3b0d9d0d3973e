import { setImmediate as turn } from 'node:timers/promises';
import type { Client } from 'undici';
import { describe, expect, it } from 'vitest';
import { Connections } from '../../shared/providers/connections.ts';

function someConnections(most: number) {
  const destroyed: Client[] = [];
  let made = 0;
  const make = () => {
    // Nothing but its end is asked of a client here.
    const client = { number: ++made, destroy: async () => void destroyed.push(client) } as unknown as Client;
    return client;
  };
  const connections = new Connections(most, make);
  const take = (wants = () => true) => {
    const call: { client?: Client } = {};
    connections.take({
      onConnection(client) {
        if (!wants()) return false;
        call.client = client;
        return true;
      },
    });
    return call;
  };
  const giveBack = ({ client }: { client?: Client }) => connections.giveBack(client as Client);
  return { connections, take, giveBack, made: () => made, destroyed };
}

describe('connections', () => {
  it('takes the one that was free last, and makes another only where none is free', () => {
    const { take, giveBack, made } = someConnections(3);
    const [first, second] = [take(), take()];
    giveBack(first);
    giveBack(second);
    expect(take().client).toBe(second.client);
    expect(take().client).toBe(first.client);
    expect(made()).toBe(2);
    expect([first.client, second.client]).not.toContain(take().client);
    expect(made()).toBe(3);
  });

  it('gives whichever is free first to who has waited longest and still wants it', async () => {
    const { take, giveBack, made } = someConnections(2);
    const [slow, quick] = [take(), take()];
    let wants = true;
    const givenUp = take(() => wants);
    const [third, fourth] = [take(), take()];
    expect([third, fourth]).toEqual([{}, {}]);
    wants = false;
    giveBack(quick);
    await turn();
    expect(givenUp).toEqual({});
    expect(third.client).toBe(quick.client);
    expect(fourth).toEqual({});
    giveBack(slow);
    await turn();
    expect(fourth.client).toBe(slow.client);
    giveBack(fourth);
    expect(take(() => false)).toEqual({});
    expect(take().client).toBe(slow.client);
    expect(made()).toBe(2);
  });

  it('destroys all, those too that are asked for later', async () => {
    const { connections, take, destroyed } = someConnections(2);
    const before = take();
    await connections.destroy();
    const after = take();
    expect(destroyed).toEqual([before.client, after.client]);
  });
});
