import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AwsJsonError, type AwsJsonOperation, startAwsJson } from '../awsJson.ts';
import { type Clock, systemClock } from './clock.ts';
import { EXECUTION_STATUSES, type Execution, openExecutionStore } from './executionStore.ts';
import { createExecutions, type LoadedMachine } from './executions.ts';
import type { InvokeFunction } from './lambdaTask.ts';
import { loadMachine } from './machine.ts';
import type { ExecutionEvent } from './machineRun.ts';
import { openMapStorage, type S3Connection } from './mapStorage.ts';
import { MAX_CAUSE_CHARACTERS, MAX_PAYLOAD_BYTES } from './statesError.ts';

export type StepFunctionsOptions = {
  dataDir: string;
  region: string;
  /** `definition` is the parsed ASL text, in JSONPath. */
  machines: { arn: string; name: string; definition: Record<string, unknown> }[];
  invokeFunction: InvokeFunction;
  /** Where distributed maps read their items and write their results. */
  s3: Omit<S3Connection, 'region'> & { region?: string };
  clock?: Clock;
  port?: number;
};

export type StepFunctionsServer = {
  url: string;
  /** ARNs of the executions that run; the children of maps are not among them. */
  running(): string[];
  /** Resolves once the execution runs no more, and its end is on disk. */
  settled(executionArn: string): Promise<void>;
  /** Tells of every event of every execution, children of maps included, until what it answers is called. */
  observe(listener: (event: ExecutionEvent) => void): () => void;
  close(): Promise<void>;
};

// https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html: no white space, brackets,
// wildcards, special or control characters.
const NAME = /^[^\s<>{}[\]?*"#%\\^|~`$&,;:/\p{Cc}]{1,80}$/u;

/**
 * Step Functions on 127.0.0.1 for the machines of the template: StartExecution, DescribeExecution, StopExecution and
 * ListExecutions. Throws where a machine asks for what the local run cannot do.
 */
export async function startStepFunctions(options: StepFunctionsOptions): Promise<StepFunctionsServer> {
  const clock = options.clock ?? systemClock;
  mkdirSync(options.dataDir, { recursive: true });
  const storage = await openMapStorage(join(options.dataDir, 'maps'), { region: options.region, ...options.s3 });
  const world = { clock, invokeFunction: options.invokeFunction, storage };
  const machines = new Map<string, LoadedMachine>(
    options.machines.map(({ arn, name, definition }) => [
      arn,
      { arn, name, machine: loadMachine(definition, `The state machine ${name}`, world) },
    ]),
  );
  const store = openExecutionStore(options.dataDir, clock.now());
  const executions = createExecutions(store, clock);

  function machineOf(arn: string): LoadedMachine {
    if (!/^arn:[^:]+:states:[^:]*:[^:]*:stateMachine:[^:]+$/.test(arn)) throw invalidArn(arn);
    const machine = machines.get(arn);
    if (!machine) throw new AwsJsonError('StateMachineDoesNotExist', `State Machine Does Not Exist: '${arn}'`);
    return machine;
  }

  function executionOf(arn: string): Execution {
    if (!/^arn:[^:]+:states:[^:]*:[^:]*:execution:[^:]+:[^:]+$/.test(arn)) throw invalidArn(arn);
    const execution = store.get(arn);
    if (!execution) throw new AwsJsonError('ExecutionDoesNotExist', `Execution Does Not Exist: '${arn}'`);
    return execution;
  }

  const operations: Record<string, AwsJsonOperation> = {
    StartExecution(request) {
      const { stateMachineArn, name, input } = texts(request, ['stateMachineArn'], ['name', 'input']);
      const machine = machineOf(stateMachineArn);
      const executionName = name ?? randomUUID();
      if (!NAME.test(executionName)) throw new AwsJsonError('InvalidName', `Invalid Name: '${executionName}'`);
      const text = input ?? '{}';
      checkInput(text);
      const arn = `${stateMachineArn.replace(':stateMachine:', ':execution:')}:${executionName}`;
      const known = store.get(arn);
      if (known?.status === 'RUNNING' && known.input === text) {
        return { executionArn: arn, startDate: seconds(known.startMs) };
      }
      if (known) throw new AwsJsonError('ExecutionAlreadyExists', `Execution Already Exists: '${arn}'`);
      const { startMs } = executions.start(machine, { arn, name: executionName, input: text });
      return { executionArn: arn, startDate: seconds(startMs) };
    },

    DescribeExecution(request) {
      const { executionArn } = texts(request, ['executionArn'], []);
      const execution = executionOf(executionArn);
      return {
        ...summary(execution),
        input: execution.input,
        inputDetails: { included: true },
        ...(execution.output === null ? {} : { output: execution.output, outputDetails: { included: true } }),
        ...(execution.error === null ? {} : { error: execution.error }),
        ...(execution.cause === null ? {} : { cause: execution.cause }),
        redriveCount: 0,
        redriveStatus: 'NOT_REDRIVABLE',
        redriveStatusReason: 'The local run does not redrive executions.',
      };
    },

    StopExecution(request) {
      const { executionArn, error, cause } = texts(request, ['executionArn'], ['error', 'cause']);
      executionOf(executionArn);
      if ((error?.length ?? 0) > 256 || (cause?.length ?? 0) > MAX_CAUSE_CHARACTERS) {
        throw invalid(`error has at most 256 and cause at most ${MAX_CAUSE_CHARACTERS} characters.`);
      }
      executions.stop(executionArn, error ?? null, cause ?? null);
      return { stopDate: seconds(executionOf(executionArn).stopMs ?? clock.now()) };
    },

    ListExecutions({ maxResults, ...request }) {
      const { stateMachineArn, statusFilter, nextToken } = texts(
        request,
        ['stateMachineArn'],
        ['statusFilter', 'nextToken'],
      );
      machineOf(stateMachineArn);
      const status = EXECUTION_STATUSES.find((one) => one === statusFilter);
      if (statusFilter !== undefined && !status) throw invalid(`statusFilter cannot be ${statusFilter}.`);
      const size = maxResults ?? 0;
      if (typeof size !== 'number' || !Number.isInteger(size) || size < 0 || size > 1_000) {
        throw invalid('maxResults is a whole number from 0 to 1000.');
      }
      // 0 means the default: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
      const take = size || 100;
      const before = nextToken === undefined ? undefined : readToken(nextToken);
      const found = store.list(stateMachineArn, {
        take: take + 1,
        ...(status ? { status } : {}),
        ...(before ? { before } : {}),
      });
      const page = found.slice(0, take);
      const last = page.at(-1);
      return {
        executions: page.map(summary),
        ...(found.length > take && last ? { nextToken: `${last.startMs}-${last.rowid}` } : {}),
      };
    },
  };

  const server = await startAwsJson({
    service: 'AWSStepFunctions',
    version: '1.0',
    operations,
    port: options.port ?? 0,
  });
  return {
    url: server.url,
    running: executions.running,
    settled: executions.settled,
    observe: executions.observe,
    async close() {
      await server.close();
      await executions.close();
      store.close();
      storage.close();
    },
  };
}

const seconds = (ms: number) => ms / 1_000;
const invalid = (message: string) => new AwsJsonError('ValidationException', message);
const invalidArn = (arn: string) => new AwsJsonError('InvalidArn', `Invalid Arn: '${arn}'`);

function summary(execution: Execution) {
  return {
    executionArn: execution.arn,
    stateMachineArn: execution.machineArn,
    name: execution.name,
    status: execution.status,
    startDate: seconds(execution.startMs),
    ...(execution.stopMs === null ? {} : { stopDate: seconds(execution.stopMs) }),
  };
}

function checkInput(text: string): void {
  if (Buffer.byteLength(text) > MAX_PAYLOAD_BYTES) throw invalid(`input has at most ${MAX_PAYLOAD_BYTES} bytes.`);
  try {
    JSON.parse(text);
  } catch (error) {
    throw new AwsJsonError('InvalidExecutionInput', `Invalid State Machine Execution Input: '${String(error)}'`);
  }
}

function readToken(token: string): { startMs: number; rowid: number } {
  const [, startMs, rowid] = /^(\d{1,15})-(\d{1,15})$/.exec(token) ?? [];
  if (!startMs || !rowid) throw new AwsJsonError('InvalidToken', `Invalid Token: '${token}'`);
  return { startMs: Number(startMs), rowid: Number(rowid) };
}

/** The request's members, all texts; one that is missing, of another type or unknown here is an error that names it. */
function texts<R extends string, O extends string>(
  request: Record<string, unknown>,
  required: readonly R[],
  optional: readonly O[],
): Record<R, string> & Partial<Record<O, string>> {
  for (const [name, value] of Object.entries(request)) {
    if (!(required as readonly string[]).includes(name) && !(optional as readonly string[]).includes(name)) {
      throw invalid(`The local run does not know the parameter ${name}.`);
    }
    if (typeof value !== 'string') throw invalid(`${name} is not a text.`);
  }
  for (const name of required) if (request[name] === undefined) throw invalid(`${name} is missing.`);
  // Each member was looked at just above.
  return request as Record<R, string> & Partial<Record<O, string>>;
}
