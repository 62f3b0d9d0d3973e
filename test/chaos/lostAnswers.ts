import { AsyncLocalStorage } from 'node:async_hooks';
import type { Stack } from '../simulation/stack.ts';

/** How many answers of the call that is under way are still to be lost. */
const losing = new AsyncLocalStorage<{ left: number }>();

const WRITES = /^(Put|Update|Delete|Transact|Create|Complete|Upload|BatchWrite)/;

/**
 * Lets `withLostAnswer` work on the clients of a stack: the service does the write, the client meets a broken
 * connection and, being the real SDK, sends it again: it may meet its own earlier write.
 */
export function loseAnswersOf({ table, s3 }: Stack): void {
  // Both have this much of a client; their own types of commands have nothing in common.
  for (const client of [table.client, s3.client] as {
    middlewareStack: { add(middleware: unknown, at: object): void };
  }[])
    client.middlewareStack.add(
      (next: (args: unknown) => Promise<unknown>, context: { commandName?: string }) => async (args: unknown) => {
        const plan = losing.getStore();
        if (!plan || plan.left === 0 || !WRITES.test(String(context.commandName))) return await next(args);
        plan.left--;
        // A refusal is lost as well as a success.
        await next(args).catch(() => undefined);
        throw Object.assign(new Error('The connection was reset'), { name: 'TimeoutError', code: 'ECONNRESET' });
      },
      // `deserialize` lies inside the retries.
      { step: 'deserialize', name: 'loseAnswers', priority: 'high' },
    );
}

/** The answer of the first write that `call` makes is lost. */
export function withLostAnswer<T>(call: () => T): T {
  return losing.run({ left: 1 }, call);
}
