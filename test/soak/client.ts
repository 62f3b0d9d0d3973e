import { setTimeout as sleep } from 'node:timers/promises';
import type { RunInfo } from '../../shared/contract/runInfo.ts';
import type { System } from './system.ts';
import { Violation } from './violation.ts';

export type Answer = { status: number; body: Record<string, unknown> };

/** A system that is up answers within this: the gateway itself gives up after 30 s. */
const UNREACHABLE_AFTER_MS = 60_000;
const REPEAT_AFTER_MS = 200;

/** A client that outlives the system: what gets no answer because it is down is asked again once it is up. */
export function createClient(system: System, signal: AbortSignal) {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  // Nobody may be waiting when it comes.
  aborted.catch(() => {});

  /** Asks until there is an answer; `ask` gets the system that is up. */
  async function outlast<T>(what: string, ask: (info: RunInfo) => Promise<T>): Promise<T> {
    let info: RunInfo | undefined;
    let since = Date.now();
    let last: unknown;
    for (;;) {
      signal.throwIfAborted();
      const up = await Promise.race([system.up, aborted]);
      if (up !== info) {
        info = up;
        since = Date.now();
      }
      try {
        return await ask(up);
      } catch (error) {
        if (error instanceof Violation || signal.aborted) throw error;
        last = error;
      }
      if (system.info === info && Date.now() - since > UNREACHABLE_AFTER_MS)
        throw new Violation(undefined, `${what} got no answer from a system that is up: ${String(last)}`);
      await sleep(REPEAT_AFTER_MS, undefined, { signal });
    }
  }

  /** A 5xx is an answer only of a system that stays up after it; and then it is a fault. */
  async function call(
    method: string,
    path: string,
    options: { body?: unknown; idempotencyKey?: string; asOperator?: true } = {},
  ): Promise<Answer> {
    return outlast(`${method} ${path}`, async (info) => {
      const answer = await fetch(info.url + path, {
        method,
        signal,
        headers: {
          ...(options.asOperator
            ? { 'users-management-key': info.management_key }
            : { authorization: `Bearer ${info.api_key}` }),
          ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey }),
        },
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      });
      const text = await answer.text();
      if (answer.status >= 500) {
        await sleep(1_000, undefined, { signal });
        if (system.info !== info) throw new Error(`${answer.status} of a system that ended`);
        throw new Violation(undefined, `${method} ${path} answered ${answer.status}: ${text}`);
      }
      return { status: answer.status, body: JSON.parse(text) as Record<string, unknown> };
    });
  }

  return {
    call,
    /** The whole file behind a pre-signed URL. `gone`: it was of a system that is no more, or the file is deleted. */
    async download(url: string): Promise<Buffer | 'gone'> {
      const asked = system.info;
      return outlast('A download', async (info) => {
        if (info !== asked) return 'gone';
        const answer = await fetch(url, { signal });
        const body = Buffer.from(await answer.arrayBuffer());
        if (answer.ok) return body;
        if (answer.status === 404 || system.info !== asked) return 'gone';
        throw new Violation(undefined, `A download answered ${answer.status}: ${body.toString().slice(0, 500)}`);
      });
    },
    async upload(url: string, content: Buffer): Promise<'taken' | 'refused'> {
      const asked = system.info;
      return outlast('An upload', async (info) => {
        if (info !== asked) return 'refused';
        const answer = await fetch(url, { method: 'PUT', body: new Uint8Array(content), signal });
        await answer.arrayBuffer();
        return answer.ok ? 'taken' : 'refused';
      });
    },
  };
}

export type Client = ReturnType<typeof createClient>;
