import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DescribeExecutionCommand,
  type DescribeExecutionCommandOutput,
  type SFNClient,
  StartExecutionCommand,
} from '@aws-sdk/client-sfn';
import {
  type StepFunctionsOptions,
  type StepFunctionsServer,
  startStepFunctions,
} from '../../../local/stepfunctions/server.ts';
import { createWorkflowClient } from '../../../shared/adapters/sfn/client.ts';
import { LOCAL_S3 } from '../../support/localS3.ts';

export const machineArn = (name: string) => `arn:aws:states:us-east-1:000000000000:stateMachine:${name}`;
export const functionArn = (name: string) => `arn:aws:lambda:us-east-1:000000000000:function:${name}`;

type Definition = Record<string, unknown>;
export type TestFunction = (payload: unknown) => unknown;

/** A function that fails the way Lambda tells of it. */
export class FunctionFailure extends Error {
  readonly errorType: string;
  constructor(errorType: string, message = 'it failed') {
    super(message);
    this.errorType = errorType;
  }
}

/** A Task as CDK's LambdaInvoke writes it. */
export function invoke(name: string, more: Definition = {}): Definition {
  return {
    Type: 'Task',
    Resource: 'arn:aws:states:::lambda:invoke',
    Parameters: { FunctionName: functionArn(name), 'Payload.$': '$' },
    OutputPath: '$.Payload',
    ...('Next' in more ? {} : { End: true }),
    ...more,
  };
}

/** One state alone. */
export const only = (state: Definition): Definition => ({ StartAt: 'Only', States: { Only: state } });

export type Harness = {
  server: StepFunctionsServer;
  client: SFNClient;
  dataDir: string;
  /** Starts it, and answers at once. */
  start(machine: string, input?: unknown, name?: string): Promise<string>;
  /** Starts it, and answers how it ended. */
  run(machine: string, input?: unknown, name?: string): Promise<DescribeExecutionCommandOutput>;
  describe(executionArn: string): Promise<DescribeExecutionCommandOutput>;
  close(): Promise<void>;
};

/** The server with the real SDK client before it and plain functions behind it. */
export async function startHarness(
  machines: Record<string, Definition>,
  functions: Record<string, TestFunction> = {},
  options: Partial<StepFunctionsOptions> & { s3Url?: string } = {},
): Promise<Harness> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'local-sfn-')));
  const { region, credentials } = LOCAL_S3;
  const server = await startStepFunctions({
    region,
    s3: { endpoint: options.s3Url ?? 'http://127.0.0.1:9', credentials },
    machines: Object.entries(machines).map(([name, definition]) => ({
      arn: machineArn(name),
      name,
      // As it would come from a template's text.
      definition: JSON.parse(JSON.stringify(definition)) as Definition,
    })),
    async invokeFunction(arn, payload) {
      const called = functions[arn.slice(functionArn('').length)];
      if (!called) throw new Error(`There is no function ${arn}.`);
      try {
        return { payload: await called(payload) };
      } catch (error) {
        if (error instanceof FunctionFailure) {
          return { error: { errorType: error.errorType, errorMessage: error.message } };
        }
        throw error;
      }
    },
    ...options,
    dataDir,
  });
  const client = createWorkflowClient({ endpoint: server.url, region, credentials, maxAttempts: 1 });
  const describe = (executionArn: string) => client.send(new DescribeExecutionCommand({ executionArn }));
  const start = async (machine: string, input: unknown = {}, name?: string) => {
    const { executionArn } = await client.send(
      new StartExecutionCommand({ stateMachineArn: machineArn(machine), input: JSON.stringify(input), name }),
    );
    return executionArn ?? '';
  };
  return {
    server,
    client,
    dataDir,
    start,
    describe,
    async run(machine, input, name) {
      const arn = await start(machine, input, name);
      await server.settled(arn);
      return describe(arn);
    },
    async close() {
      client.destroy();
      await server.close();
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** A function that is held until it is let go. */
export function held() {
  const entered = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  let calls = 0;
  let ended = 0;
  return {
    /** Resolves when the function is first called. */
    entered: entered.promise,
    release: released.resolve,
    calls: () => calls,
    ended: () => ended,
    body: async (payload: unknown) => {
      calls += 1;
      entered.resolve();
      await released.promise;
      ended += 1;
      return payload;
    },
  };
}
