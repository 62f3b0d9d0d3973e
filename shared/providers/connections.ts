import type { Client } from 'undici';

/** Who wants a connection. False: not any more, so that the next in line gets it. */
export type Wanting = { onConnection(client: Client): boolean };

/**
 * The connections to one server, up to `most`; the one that was free last is taken first, and who finds none waits in
 * line. undici's Pool goes through all of its clients twice for each call, which with a hundred of them is a tenth of the
 * call's processor time.
 */
export class Connections {
  readonly #make: () => Client;
  readonly #most: number;
  readonly #all: Client[] = [];
  readonly #free: Client[] = [];
  readonly #waiting: Wanting[] = [];
  #isDestroyed = false;

  constructor(most: number, make: () => Client) {
    this.#make = make;
    this.#most = most;
  }

  /** At once or later `onConnection` is called; what it takes is to be given back once. */
  take(wanting: Wanting): void {
    const client = this.#free.pop() ?? this.#another();
    if (!client) this.#waiting.push(wanting);
    else if (!wanting.onConnection(client)) this.#free.push(client);
  }

  giveBack(client: Client): void {
    this.#free.push(client);
    // Not from here: undici is in the middle of telling of an end, and takes no new call for that connection.
    if (this.#waiting.length > 0) setImmediate(() => this.#serve());
  }

  async destroy(): Promise<void> {
    this.#isDestroyed = true;
    await Promise.all(this.#all.map((client) => client.destroy()));
  }

  #serve(): void {
    while (this.#free.length > 0) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.take(next);
    }
  }

  #another(): Client | undefined {
    if (this.#all.length === this.#most) return undefined;
    const client = this.#make();
    this.#all.push(client);
    // Then a call of it ends with undici's own word for that.
    if (this.#isDestroyed) void client.destroy();
    return client;
  }
}
