import { ExecutionError, StateMachine, type StateMachineDefinition } from 'aws-local-stepfunctions';
import type { Clock } from './clock.ts';
import { loadDistributedMap } from './distributedMap.ts';
import { LONGEST_WAIT_SECONDS } from './features.ts';
import { type InvokeFunction, loadLambdaTask } from './lambdaTask.ts';
import type { Machine, MachineRun, StateBody } from './machineRun.ts';
import type { MapStorage } from './mapStorage.ts';
import { checkPayloadSize, ExecutionStopped, isObject, type Json, runtimeError, StatesError } from './statesError.ts';
import { loadWait } from './waitState.ts';

/** What the states of every machine share. */
export type MachineWorld = { clock: Clock; invokeFunction: InvokeFunction; storage: MapStorage };

/**
 * Makes a machine, or the processor of a distributed map, of its ASL text, which has been checked (`checkMachine`):
 * rewrites what aws-local-stepfunctions lacks (lambda:invoke, long waits, distributed maps) into tasks whose bodies are
 * ours.
 */
export function loadMachine(definition: Record<string, unknown>, where: string, world: MachineWorld): Machine {
  const states: Record<string, unknown> = {};
  const bodies: [string, StateBody][] = [];
  for (const [name, state] of Object.entries(definition.States as Record<string, Record<string, unknown>>)) {
    const body = loadBody(state, name, `${where}, state ${name}`, world);
    if (body) bodies.push([name, body]);
    states[name] = rewrite(state);
  }
  const machine = new StateMachine(
    // TimeoutSeconds is kept by whoever runs the machine.
    { StartAt: definition.StartAt, States: states } as unknown as StateMachineDefinition,
    { validationOptions: { noValidate: true } },
  );
  return {
    timeoutSeconds: typeof definition.TimeoutSeconds === 'number' ? definition.TimeoutSeconds : undefined,
    run: (input, run) => interpret(machine, bodies, input, run),
  };
}

function loadBody(
  state: Record<string, unknown>,
  name: string,
  where: string,
  world: MachineWorld,
): StateBody | undefined {
  if (state.Type === 'Task') return loadLambdaTask(state, where, world.invokeFunction);
  if (state.Type === 'Wait') return loadWait(state, world.clock);
  if (state.Type !== 'Map') return undefined;
  const processor = loadMachine(state.ItemProcessor as Record<string, unknown>, where, world);
  return loadDistributedMap(state, name, where, { processor, clock: world.clock, storage: world.storage });
}

async function interpret(
  machine: StateMachine,
  bodies: [string, StateBody][],
  input: Json,
  run: MachineRun,
): Promise<Json> {
  if (run.signal.aborted) throw new ExecutionStopped();
  const handlers = Object.fromEntries(
    bodies.map(([name, body]) => [name, (stateInput: Json) => unlessStopped(run.signal, () => body(stateInput, run))]),
  );
  const { Execution, StateMachine: Of } = run.context;
  const execution = machine.run(input, {
    overrides: { taskResourceLocalHandlers: handlers },
    // The interpreter adds Input and StartTime itself.
    context: { Execution: { Id: Execution.Id, Name: Execution.Name }, StateMachine: Of },
  });
  const abort = () => execution.abort();
  run.signal.addEventListener('abort', abort, { once: true });
  // Read to the end even where nobody watches, or they pile up in the interpreter.
  const events = watch(execution.eventLogs, run);
  try {
    const output = await execution.result;
    checkPayloadSize(output, "The execution's output");
    return output;
  } catch (error) {
    throw run.signal.aborted ? new ExecutionStopped() : toStatesError(error);
  } finally {
    run.signal.removeEventListener('abort', abort);
    await events;
  }
}

async function watch(events: ReturnType<StateMachine['run']>['eventLogs'], run: MachineRun): Promise<void> {
  const executionArn = run.context.Execution.Id;
  for await (const event of events) {
    run.observe({
      executionArn,
      type: event.type,
      ...('state' in event ? { state: event.state.name } : {}),
      told: event,
    });
  }
}

/** Rejects as soon as the execution is stopped; what the body has begun is not waited for. */
async function unlessStopped(signal: AbortSignal, body: () => Promise<Json>): Promise<Json> {
  if (signal.aborted) throw new ExecutionStopped();
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const stop = () => reject(new ExecutionStopped());
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([body(), stopped]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function toStatesError(error: unknown): StatesError {
  const cause = error instanceof ExecutionError ? error.cause : error;
  if (cause instanceof StatesError) return cause;
  // The interpreter's own failures know whether they may be retried; anything else is a fault of the machine's text.
  if (cause instanceof Error && 'isRetryable' in cause) return new StatesError(cause.name, cause.message);
  return runtimeError(cause instanceof Error ? cause.message : String(cause));
}

/** The state as the interpreter is to see it. */
function rewrite(state: Record<string, unknown>): Record<string, unknown> {
  const { ResultPath, Retry, Catch, ...rest } = state;
  const ofTask = state.Type === 'Task';
  const common = {
    ...rest,
    // The interpreter takes "$" for the name of a field; it means what leaving it out means.
    ...(ResultPath === undefined || ResultPath === '$' ? {} : { ResultPath }),
    ...(Array.isArray(Retry) ? { Retry: Retry.flatMap((retrier) => matching(retrier, ofTask)) } : {}),
    ...(Array.isArray(Catch) ? { Catch: Catch.flatMap((catcher) => matching(catcher, ofTask)) } : {}),
  };
  switch (state.Type) {
    case 'Task': {
      // Left out, it is 99,999,999 seconds to Step Functions and 60 to the interpreter.
      const wanted = typeof state.TimeoutSeconds === 'number' ? state.TimeoutSeconds : LONGEST_WAIT_SECONDS;
      return { ...common, TimeoutSeconds: Math.min(wanted, LONGEST_WAIT_SECONDS) };
    }
    case 'Map':
    case 'Wait':
      return { ...common, Type: 'Task', Resource: 'local', TimeoutSeconds: LONGEST_WAIT_SECONDS };
    case 'Choice':
      return { ...common, Choices: (state.Choices as unknown[]).map(rewriteRule) };
    default:
      return common;
  }
}

/** `States.TaskFailed` stands for the failures of Task states alone, and a map is one only to the interpreter. */
function matching(rule: Record<string, unknown>, ofTask: boolean): Record<string, unknown>[] {
  const { ResultPath, ...rest } = rule;
  const ErrorEquals = (rule.ErrorEquals as string[]).filter((name) => ofTask || name !== 'States.TaskFailed');
  if (ErrorEquals.length === 0) return [];
  return [{ ...rest, ErrorEquals, ...(ResultPath === undefined || ResultPath === '$' ? {} : { ResultPath }) }];
}

/** The interpreter reads `IsPresent: false` and its like as "never": they become the negation of `true`. */
function rewriteRule(rule: unknown): unknown {
  if (!isObject(rule)) return rule;
  const { Next, ...test } = rule;
  const negated = Object.entries(test).find(([name, value]) => name.startsWith('Is') && value === false);
  const parts = (value: unknown) => (Array.isArray(value) ? value.map(rewriteRule) : value);
  return {
    ...(negated ? { Not: { ...test, [negated[0]]: true } } : test),
    ...('And' in test ? { And: parts(test.And) } : {}),
    ...('Or' in test ? { Or: parts(test.Or) } : {}),
    ...('Not' in test ? { Not: rewriteRule(test.Not) } : {}),
    ...(Next === undefined ? {} : { Next }),
  };
}
