import type { Clock } from './clock.ts';
import type { ExecutionEnd, ExecutionStore } from './executionStore.ts';
import type { ExecutionEvent, Machine } from './machineRun.ts';
import { ExecutionStopped, type Json } from './statesError.ts';

export type LoadedMachine = { arn: string; name: string; machine: Machine };

export type Executions = {
  /** Writes the execution down, and runs it. */
  start(of: LoadedMachine, execution: { arn: string; name: string; input: string }): { startMs: number };
  /** `ABORTED` at once: no further state runs; functions that run do so to their end. False where it has ended. */
  stop(arn: string, error: string | null, cause: string | null): boolean;
  running(): string[];
  /** Resolves once the execution runs no more, and its end is on disk. */
  settled(arn: string): Promise<void>;
  observe(listener: (event: ExecutionEvent) => void): () => void;
  /** Cuts off what runs, as the end of the process would, and waits until it is quiet. */
  close(): Promise<void>;
};

/** The executions that run, each in memory until it ends; their ends are on disk. */
export function createExecutions(store: ExecutionStore, clock: Clock): Executions {
  const running = new Map<string, { controller: AbortController; done: Promise<void> }>();
  const listeners = new Set<(event: ExecutionEvent) => void>();
  let closing = false;

  async function run(of: LoadedMachine, arn: string, name: string, input: Json, signal: AbortSignal) {
    const StartTime = new Date(clock.now()).toISOString();
    const context = {
      Execution: { Id: arn, Name: name, StartTime, Input: input },
      StateMachine: { Id: of.arn, Name: of.name },
    };
    const observe = (event: ExecutionEvent) => {
      for (const listener of listeners) listener(event);
    };
    return of.machine.run(input, { context, signal, observe });
  }

  async function runToEnd(of: LoadedMachine, arn: string, name: string, text: string, controller: AbortController) {
    const { timeoutSeconds } = of.machine;
    const over = new AbortController();
    if (timeoutSeconds !== undefined) {
      clock.sleep(timeoutSeconds * 1_000, over.signal).then(
        () => {
          finish(arn, { status: 'TIMED_OUT', output: null, error: null, cause: null });
          controller.abort();
        },
        // The execution ended first.
        () => undefined,
      );
    }
    try {
      const output = await run(of, arn, name, JSON.parse(text) as Json, controller.signal);
      finish(arn, { status: 'SUCCEEDED', output: JSON.stringify(output), error: null, cause: null });
    } catch (error) {
      // Whoever stopped it has written its end down.
      if (error instanceof ExecutionStopped) return;
      const { name: errorName, message } = error instanceof Error ? error : new Error(String(error));
      finish(arn, { status: 'FAILED', output: null, error: errorName, cause: message });
    } finally {
      over.abort();
      running.delete(arn);
    }
  }

  function finish(arn: string, end: ExecutionEnd): boolean {
    return !closing && store.end(arn, end, clock.now());
  }

  return {
    start(of, { arn, name, input }) {
      const startMs = clock.now();
      store.insert({ arn, machineArn: of.arn, name, input, startMs });
      const controller = new AbortController();
      // Its first state runs after the caller has its answer.
      const done = Promise.resolve().then(() => runToEnd(of, arn, name, input, controller));
      running.set(arn, { controller, done });
      return { startMs };
    },
    stop(arn, error, cause) {
      const stopped = finish(arn, { status: 'ABORTED', output: null, error, cause });
      running.get(arn)?.controller.abort();
      return stopped;
    },
    running: () => [...running.keys()],
    settled: async (arn) => running.get(arn)?.done,
    observe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async close() {
      closing = true;
      const all = [...running.values()];
      for (const { controller } of all) controller.abort();
      await Promise.all(all.map(({ done }) => done));
    },
  };
}
