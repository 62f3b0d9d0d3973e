import type { StatesContext } from './payloadTemplate.ts';
import type { Json } from './statesError.ts';

/**
 * What an execution tells those who watch: the interpreter's events. `state` where the event is a state's; `told` is all
 * that the event holds, inputs, outputs and causes, as a history does.
 */
export type ExecutionEvent = { executionArn: string; type: string; state?: string; told: unknown };

/** One execution, as its states see it. */
export type MachineRun = {
  context: StatesContext;
  /** Aborted when the execution is stopped or timed out. */
  signal: AbortSignal;
  observe(event: ExecutionEvent): void;
};

/** What a state does, once its input is processed. */
export type StateBody = (input: Json, run: MachineRun) => Promise<Json>;

export type Machine = {
  timeoutSeconds: number | undefined;
  /** Answers the output, or throws a `StatesError`. Functions that run when the signal is aborted run on. */
  run(input: Json, run: MachineRun): Promise<Json>;
};
