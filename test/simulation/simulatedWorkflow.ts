import type { BatchRef } from '../../shared/domain/batch.ts';
import { batchExecutionName, notificationExecutionName, snapshotExecutionName } from '../../shared/domain/ids.ts';
import type { ExecutionStatus, Random, Workflow } from '../../shared/ports.ts';
import { type Definition, type Json, runMachine } from './machine.ts';
import type { VirtualTime } from './virtualTime.ts';

type Execution = { status: ExecutionStatus; stop: AbortController };

export type SimulatedWorkflow = Workflow & {
  /** By name. */
  readonly executions: ReadonlyMap<string, Execution>;
  /** Takes an execution away as if it had never been. */
  lose(name: string): void;
  /** Ends an execution that runs, behind everybody's back. */
  cutOff(name: string, status: 'failed' | 'timed_out' | 'aborted'): void;
  stopAll(): void;
};

/** Step Functions in virtual time: names are taken once, a stop leaves functions in flight running. */
export function createSimulatedWorkflow(deps: {
  time: VirtualTime;
  random: Random;
  machines: Record<'batch' | 'notification' | 'snapshot', Definition>;
  invoke(functionArn: string, payload: Json): Promise<Json>;
  readItems(key: string): Promise<Json[]>;
}): SimulatedWorkflow {
  const { time, random, machines, invoke, readItems } = deps;
  const executions = new Map<string, Execution>();

  function start(definition: Definition, name: string, input: Json): 'started' | 'already' {
    const standing = executions.get(name);
    if (standing) return standing.status === 'running' ? 'started' : 'already';
    const execution: Execution = { status: 'running', stop: new AbortController() };
    executions.set(name, execution);
    const { signal } = execution.stop;
    // The starter goes on first, as it does when the machine is another service.
    void time.clock
      .sleep(0)
      .then(() =>
        runMachine(definition, input, {
          invoke,
          readItems: (_, key) => readItems(key),
          clock: time.clock,
          random,
          signal,
        }),
      )
      .then(
        () => end(execution, 'succeeded'),
        () => end(execution, signal.aborted ? 'aborted' : 'failed'),
      );
    return 'started';
  }
  const end = (execution: Execution, status: ExecutionStatus) => {
    if (execution.status === 'running') execution.status = status;
  };
  const cutOff = (name: string, status: ExecutionStatus) => {
    const execution = executions.get(name);
    if (execution?.status !== 'running') return;
    execution.status = status;
    execution.stop.abort(new Error(status));
  };
  const statusOf = (name: string): ExecutionStatus => executions.get(name)?.status ?? 'not_found';
  const of = ({ projectId, batchId }: BatchRef, rest: Json): Json => ({ version: 1, projectId, batchId, ...rest });

  return {
    executions,
    startBatch: async (ref, attempt) =>
      start(machines.batch, batchExecutionName(ref.batchId, attempt), of(ref, { attempt })),
    startNotification: async (ref, notification) =>
      start(machines.notification, notificationExecutionName(ref.batchId, notification), of(ref, { notification })),
    startSnapshot: async (ref, snapshot) =>
      start(machines.snapshot, snapshotExecutionName(ref.batchId, snapshot), of(ref, { snapshot })),
    describeBatch: async (batchId, attempt) => statusOf(batchExecutionName(batchId, attempt)),
    describeNotification: async (batchId, number) => statusOf(notificationExecutionName(batchId, number)),
    describeSnapshot: async (batchId, number) => statusOf(snapshotExecutionName(batchId, number)),
    stopBatch: async (batchId, attempt) => cutOff(batchExecutionName(batchId, attempt), 'aborted'),
    lose(name) {
      executions.get(name)?.stop.abort(new Error('lost'));
      executions.delete(name);
    },
    cutOff,
    stopAll() {
      for (const name of executions.keys()) cutOff(name, 'aborted');
    },
  };
}
