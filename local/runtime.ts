import { constants, cpSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { type DataFolder, openDataFolder, StartError } from './dataFolder.ts';
import { type Demo, startDemo } from './demo/server.ts';
import { startDynamoDb } from './dynamodb/server.ts';
import { type FunctionHost, startFunctions } from './functions/host.ts';
import type { InvocationResult } from './functions/invocation.ts';
import { type HttpApi, type HttpApiOptions, startHttpApi } from './http/server.ts';
import { describeModels, fillModelKeys, type ModelServer, writeModelsFile } from './models.ts';
import { getReadyKeys, PROJECT_ID } from './readyKeys.ts';
import { startS3Thread } from './s3/thread.ts';
import { startSchedules } from './schedule.ts';
import { startSecretsManager } from './secrets/server.ts';
import { type StepFunctionsServer, startStepFunctions } from './stepfunctions/server.ts';
import { ROOT, synthesize } from './synth.ts';
import { readAssembly } from './template/assembly.ts';
import { REGION } from './template/localNames.ts';
import type { LocalPlan } from './template/plan.ts';
import { planFromAssembly } from './template/readTemplate.ts';

/**
 * What may run longer than the API's functions takes in content of any size and shape, and may die of it: it gets a process
 * of its own.
 */
const LONGEST_IN_A_THREAD_SECONDS = 60;

export type LocalRunOptions = {
  /** Holds everything; the same folder carries on where the last run ended. */
  dataDir: string;
  /** Of the API; 0 takes any free one. */
  port: number;
  reset?: boolean;
  /** Instead of the repository's `models.json`. */
  modelsFile?: string;
  modelServer?: ModelServer;
  /**
   * Time and memory that functions get in place of the template's, by their logical id's beginning
   * (`FunctionsWorkflowFinalizeBatch`): what takes hours and gigabytes in truth is tried out in seconds and megabytes.
   */
  functions?: Record<string, { timeoutSeconds?: number; memoryMb?: number }>;
  /** False: no schedule fires, so that only the test's own checks and sweeps run. */
  schedules?: boolean;
  /** Merged into the settings of the stage `local`. */
  settings?: Record<string, unknown>;
  /** Where `MODEL_API_KEY` is looked up. */
  environment?: Record<string, string | undefined>;
  /** Given the services' endpoints under the SDK's names, answers those that functions get: what a test puts in between. */
  between?: (endpoints: Record<string, string>) => Promise<Record<string, string>>;
  onProgress?: (text: string) => void;
  onNotification?: Parameters<typeof startDemo>[0]['onNotification'];
};

export type LocalRun = {
  url: string;
  operatorKey: string;
  apiKey: string;
  projectId: string;
  webhookSecret: string;
  demo: Demo;
  dataDir: string;
  pid: number;
  /** What answers the lines, for people. */
  models: string;
  backstage: Backstage;
  /** Stops everything; what is on disk is what the next run on the folder starts from. */
  close(): Promise<void>;
};

/** What whoever runs the stack in an account can reach beside the API. */
export type Backstage = {
  /** Region, credentials and endpoints, under the SDK's own names. */
  environment: Record<string, string>;
  /** The stack's. */
  outputs: Record<string, string>;
  /** Invokes a function by its logical id's beginning. */
  invoke(logicalId: string, event: unknown): Promise<InvocationResult>;
  /** Tells of every event of every execution, as the history of each does on AWS. */
  observe: StepFunctionsServer['observe'];
};

/** Starts the whole product on this machine, from the template that would be deployed. */
export async function startLocalRun(options: LocalRunOptions): Promise<LocalRun> {
  await using stack = new AsyncDisposableStack();
  const folder = openDataFolder(resolve(options.dataDir), { reset: options.reset ?? false });
  stack.defer(() => folder.close());
  await checkPort(options.port);
  const modelsFile = chooseModels(options, folder);
  const plan = await makePlan(options, folder, modelsFile);
  const { url, demo, apiKey, webhookSecret, operatorKey, stores, backstage } = await startServices(
    options,
    folder,
    plan,
    stack,
  );
  folder.publish({
    url,
    api_key: apiKey,
    management_key: operatorKey,
    project_id: PROJECT_ID,
    webhook_secret: webhookSecret,
    demo_receiver_url: demo.receiverUrl,
    pid: process.pid,
    stores,
  });
  const running = stack.move();
  return {
    url,
    operatorKey,
    apiKey,
    projectId: PROJECT_ID,
    webhookSecret,
    demo,
    dataDir: folder.path,
    pid: process.pid,
    models: describeModels(modelsFile),
    backstage,
    close: () => running.disposeAsync(),
  };
}

function chooseModels({ modelServer, modelsFile, environment = {} }: LocalRunOptions, folder: DataFolder): string {
  return modelServer
    ? writeModelsFile(folder.path, modelServer, Boolean(environment.MODEL_API_KEY))
    : resolve(modelsFile ?? join(ROOT, 'models.json'));
}

async function makePlan(options: LocalRunOptions, folder: DataFolder, modelsFile: string): Promise<LocalPlan> {
  const { environment = {} } = options;
  options.onProgress?.('Synthesizing the stack');
  const synthesized = await synthesize({ modelsFile, settings: options.settings ?? {} });
  // The run's own copy: sandboxes load from it as long as it is up, and the cache drops what is old.
  const dir = join(folder.path, 'cdk.out');
  rmSync(dir, { recursive: true, force: true });
  cpSync(synthesized, dir, { recursive: true, mode: constants.COPYFILE_FICLONE });
  const plan = planFromAssembly(readAssembly(dir));
  const functions = plan.functions.map((each) => {
    const changed = Object.entries(options.functions ?? {}).find(([id]) => each.logicalId.startsWith(id));
    return { ...each, ...changed?.[1], ownProcess: each.timeoutSeconds > LONGEST_IN_A_THREAD_SECONDS };
  });
  return { ...plan, functions, secrets: fillModelKeys(plan.secrets, plan.functions, environment) };
}

/** Starts every service and hands its end to `stack`, which ends them the other way round. */
async function startServices(
  options: LocalRunOptions,
  folder: DataFolder,
  plan: LocalPlan,
  stack: AsyncDisposableStack,
) {
  const { credentials } = folder;
  const dir = (name: string) => join(folder.path, name);
  const ports = folder.ports.read();
  options.onProgress?.('Starting the services');

  const dynamodb = await startDynamoDb({ dataDir: folder.path, region: REGION, credentials, tables: plan.tables });
  stack.defer(() => dynamodb.close());
  const buckets = plan.buckets.map(({ name }) => name);
  const s3 = await onPort(ports?.s3 ?? 0, (port) =>
    startS3Thread({ dataDir: dir('s3'), credentials, region: REGION, port, buckets }),
  );
  stack.defer(() => s3.close());
  const secrets = await startSecretsManager({
    dataDir: dir('secrets'),
    secrets: plan.secrets.map(({ arn, name, value, generate }) => ({
      arn,
      name,
      ...(value === undefined ? {} : { value }),
      ...(generate === undefined ? {} : { generate }),
    })),
  });
  stack.defer(() => secrets.close());

  // Machines call functions and functions start executions: the host comes after the machines, whose calls wait for
  // it; and it ends after them, so that no execution sees its function fail because everything stops.
  const host = Promise.withResolvers<FunctionHost>();
  const invoke = async (arn: string, event: unknown): Promise<InvocationResult> =>
    (await host.promise).invoke(arn, event);
  let functions: FunctionHost | undefined;
  stack.defer(async () => functions?.close());
  const sfn = await startStepFunctions({
    dataDir: dir('stepfunctions'),
    region: REGION,
    machines: plan.machines,
    invokeFunction: invoke,
    s3: { endpoint: s3.url, credentials },
  });
  stack.defer(() => sfn.close());
  const environment = {
    AWS_REGION: REGION,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: dynamodb.url,
    AWS_ENDPOINT_URL_S3: s3.url,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_SFN: sfn.url,
  };
  functions = startFunctions({
    functions: plan.functions,
    environment: (await options.between?.(environment)) ?? environment,
    logDir: dir('logs'),
    // Workers spend most of their time waiting for models; more than two a core only adds memory.
    maxConcurrency: Math.max(2, Math.min(8, 2 * availableParallelism())),
  });
  host.resolve(functions);

  const api = await startApi(options.port, plan.routes, invoke);
  stack.defer(() => api.close());
  const operatorKey = await readOperatorKey(secrets.url, plan, credentials);
  const keys = await getReadyKeys(api.url, operatorKey, folder);
  // Beside the API's port, so that a callback can be written down before the first start.
  const demoPort = ports?.demo ?? (options.port === 0 ? 0 : options.port + 1);
  const demo = await onPort(demoPort, (port) =>
    startDemo({
      port,
      examplesDir: join(ROOT, 'examples'),
      secret: keys.webhookSecret,
      onNotification: (notification) => options.onNotification?.(notification),
    }),
  );
  stack.defer(() => demo.close());
  folder.ports.write({ s3: Number(new URL(s3.url).port), demo: Number(new URL(demo.url).port) });
  const schedules = startSchedules(options.schedules === false ? [] : plan.schedules, invoke);
  stack.defer(() => schedules.close());
  const stores = {
    dynamodb_url: dynamodb.url,
    s3_url: s3.url,
    region: REGION,
    access_key_id: credentials.accessKeyId,
    secret_access_key: credentials.secretAccessKey,
    table: outputOf(plan, 'TableName'),
    bucket: outputOf(plan, 'BucketName'),
  };
  const backstage: Backstage = {
    environment,
    outputs: plan.outputs,
    invoke: (logicalId, event) => invoke(arnOf(plan, logicalId), event),
    observe: sfn.observe,
  };
  return { url: api.url, demo, operatorKey, stores, backstage, ...keys };
}

function arnOf({ functions }: LocalPlan, logicalId: string): string {
  const found = functions.find((each) => each.logicalId.startsWith(logicalId));
  if (!found) throw new Error(`The stack has no function ${logicalId}`);
  return found.arn;
}

function outputOf({ outputs }: LocalPlan, name: string): string {
  const value = outputs[name];
  if (value === undefined) throw new Error(`The stack has no output ${name}`);
  return value;
}

function isPortTaken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}

/** Tried before the long part of the start, so that a taken port is said at once. */
async function checkPort(port: number): Promise<void> {
  const api = await startApi(port, [], async () => ({ payload: null }));
  await api.close();
}

async function startApi(port: number, routes: LocalPlan['routes'], invoke: HttpApiOptions['invoke']): Promise<HttpApi> {
  try {
    return await startHttpApi({ port, routes, invoke });
  } catch (cause) {
    if (!isPortTaken(cause)) throw cause;
    throw new StartError(
      `Port ${port} is taken by another program. Stop that one, or choose another port: npm start -- --port ${port + 10} (--port 0 takes any free one)`,
      { cause },
    );
  }
}

/** On that port if it is free, else on any. */
async function onPort<T>(port: number, start: (port: number) => Promise<T>): Promise<T> {
  try {
    return await start(port);
  } catch (error) {
    if (port === 0 || !isPortTaken(error)) throw error;
    return start(0);
  }
}

async function readOperatorKey(
  endpoint: string,
  plan: LocalPlan,
  credentials: DataFolder['credentials'],
): Promise<string> {
  const client = new SecretsManagerClient({ endpoint, region: REGION, credentials });
  const { SecretString } = await client.send(
    new GetSecretValueCommand({ SecretId: outputOf(plan, 'OperatorKeySecretArn') }),
  );
  client.destroy();
  if (!SecretString) throw new Error('The secret under the output OperatorKeySecretArn holds no operator key');
  return SecretString;
}
