import type { Simulation } from '../simulation/simulation.ts';
import type { Client } from '../soak/client.ts';
import type { Random } from '../support/random.ts';
import type { Api } from './api.ts';

/** A client that asks again where it got no answer, or a 500, until `pause` has had enough. */
export function createChaosClient(
  { time }: Simulation,
  api: Api,
  random: Random,
  pause: (ms: number, why: string) => Promise<void>,
): Client {
  async function outlast<T>(what: string, ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        await pause(random.int(200, 5_000), `${what} has no answer: ${String(error)}`);
      }
    }
  }
  return {
    call: (method, path, options) => outlast(`${method} ${path}`, () => api(method, path, options)),
    async download(url) {
      // Straight from the bucket.
      const [status, body] = await time.during(async () => {
        const answer = await fetch(url);
        return [answer.status, Buffer.from(await answer.arrayBuffer())] as const;
      });
      if (status === 200) return body;
      if (status === 404) return 'gone';
      throw new Error(`A download answered ${status}: ${body.toString().slice(0, 500)}`);
    },
    async upload(url, content) {
      const ok = await time.during(async () => {
        const answer = await fetch(url, { method: 'PUT', body: new Uint8Array(content) });
        await answer.arrayBuffer();
        return answer.ok;
      });
      return ok ? 'taken' : 'refused';
    },
  };
}
