import type { Client } from 'undici';

/** A connection, and the calls that were given to it and have not ended: more than one only where all are taken. */
export type Connection = { readonly client: Client; calls: number };

/**
 * The connections to one server, up to `most`; the one that was free last is taken first. undici's Pool goes through all
 * of its clients twice for each call, which with a hundred of them is a tenth of the call's processor time.
 */
export class Connections {
  readonly #make: () => Client;
  readonly #most: number;
  readonly #all: Connection[] = [];
  readonly #free: Connection[] = [];

  constructor(most: number, make: () => Client) {
    this.#most = most;
    this.#make = make;
  }

  /** To be given back once, when the call has ended. Where all are taken the call waits behind another. */
  take(): Connection {
    const connection = this.#free.pop() ?? (this.#all.length < this.#most ? this.#add() : this.#leastTaken());
    connection.calls++;
    return connection;
  }

  giveBack(connection: Connection): void {
    connection.calls--;
    if (connection.calls === 0) this.#free.push(connection);
  }

  async destroy(): Promise<void> {
    await Promise.all(this.#all.map(({ client }) => client.destroy()));
  }

  #add(): Connection {
    const connection = { client: this.#make(), calls: 0 };
    this.#all.push(connection);
    return connection;
  }

  #leastTaken(): Connection {
    return this.#all.reduce((least, connection) => (connection.calls < least.calls ? connection : least));
  }
}
