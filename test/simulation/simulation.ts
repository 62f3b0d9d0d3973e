import { ulid } from 'ulid';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { type FunctionName, functions } from '../../shared/contract/functions.ts';
import { type Settings, SettingsSchema } from '../../shared/contract/settings.ts';
import type { StepName } from '../../shared/contract/steps.ts';
import type { ModelsFile } from '../../shared/domain/models.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import type {
  Clock,
  Ids,
  InputSource,
  Invocation,
  ModelAnswer,
  ModelCall,
  Random,
  ReceiverAnswer,
} from '../../shared/ports.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';
import { failBatch } from '../../shared/usecases/failBatch.ts';
import { fetchInput } from '../../shared/usecases/fetchInput.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { notifyReceiver } from '../../shared/usecases/notifyReceiver.ts';
import { planShards } from '../../shared/usecases/planShards.ts';
import { runShard } from '../../shared/usecases/runShard.ts';
import { snapshotBatch } from '../../shared/usecases/snapshotBatch.ts';
import { sweepBatches } from '../../shared/usecases/sweepBatches.ts';
import { validateInput } from '../../shared/usecases/validateInput.ts';
import { recordedLog } from '../support/recordedLog.ts';
import { type Json, StatesError } from './machine.ts';
import { type Interceptor, intercepted, Process } from './process.ts';
import { createSimulatedWorkflow } from './simulatedWorkflow.ts';
import { type Stack, startStack } from './stack.ts';
import { tracked } from './trackedPorts.ts';
import { VirtualTime } from './virtualTime.ts';

export { type Interceptor, type PortCall, Process } from './process.ts';

/** A model, which may want to know who calls it. */
export type SimulatedModel = { call(call: ModelCall, process: Process): Promise<ModelAnswer> };

/** An invocation of a step that is about to be made; `invoke` makes it, and may be called again. */
export type StepCall = { step: StepName; payload: Json };
export type Around = (call: StepCall, invoke: () => Promise<Json>) => Promise<Json>;

export type SimulationOptions = {
  models: ModelsFile;
  /** Answers the models' calls, in virtual time. */
  model: (time: VirtualTime) => SimulatedModel;
  random: Random;
  settings?: Record<string, unknown>;
  intercept?: Interceptor;
  /** Stands around every invocation of a step: what it answers or throws is what the machine sees. */
  around?: Around;
  receive?: (url: string, headers: Record<string, string>, body: string) => ReceiverAnswer | Promise<ReceiverAnswer>;
  sources?: InputSource;
  /** Makes ids from the time. */
  ids?: (time: VirtualTime) => Ids;
  /** In place of the template's. */
  timeoutSeconds?: Partial<Record<FunctionName, number>>;
  /** Between two runs of the schedule; a minute unless given. */
  checkEveryMs?: () => number;
  /** One that is there already, and stays; else it has its own. */
  stack?: Stack;
};

const START = Date.parse('2026-01-15T10:00:00.000Z');
const CHECK_EVERY_MS = 60_000;

/**
 * The whole workflow in virtual time: the synthesized machines, the real use cases and adapters, a real table and
 * bucket. Only the models, the receivers and Step Functions' own timers are simulated.
 */
export async function startSimulation(options: SimulationOptions) {
  const { models, random, intercept = (_, proceed) => proceed() } = options;
  const settings: Settings = SettingsSchema.parse({
    allowPrivateNetworks: true,
    // Its sources drip files of a kilobyte for longer than an invocation.
    fetch: { minBytesPerSecond: 0 },
    ...options.settings,
  });
  const stack = options.stack ?? (await startStack());
  const { table, s3, plan } = stack;
  const time = new VirtualTime(START);
  const log = recordedLog();
  const model = options.model(time);
  const stores = {
    ...tablePorts(table.tableName, table.client),
    files: createFileStore({ client: s3.client, bucket: s3.bucket }),
  };
  const trackedStores = Object.fromEntries(
    Object.entries(stores).map(([name, port]) => [name, tracked(time, name, port as object)]),
  ) as typeof stores;
  const ids: Ids = options.ids?.(time) ?? {
    ulid: () => ulid(time.now),
    secretBytes: (count: number) => new Uint8Array(count).fill(7),
  };
  const noSources: InputSource = { open: () => Promise.reject(new Error('The simulation has uploads only')) };
  const workflow = createSimulatedWorkflow({
    time,
    random,
    machines: plan.machines,
    invoke,
    readItems: async (key) =>
      (await readText(key))
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Json),
  });

  /** The ports as one process sees them. */
  function portsOf(process: Process, interceptor: Interceptor = intercept) {
    const provider = { call: (call: ModelCall) => model.call(call, process) };
    const clock: Clock = { ...time.clock, now: () => time.clock.now() + process.skewMs };
    const own = {
      ...trackedStores,
      workflow,
      provider,
      receivers: {
        post: async (url: string, { headers, body }: { headers: Record<string, string>; body: string }) =>
          (await options.receive?.(url, headers, body)) ?? ({ kind: 'answered', status: 200 } as const),
      },
      sources: options.sources ?? noSources,
      clock,
    };
    const seen = Object.fromEntries(
      Object.entries(own).map(([name, port]) => [name, intercepted(process, name, port as object, interceptor)]),
    ) as typeof own;
    return {
      ...seen,
      providers: { get: () => seen.provider },
      ids,
      random,
      log,
      settings,
      models: models,
      paces: new Map(),
    };
  }
  type Deps = ReturnType<typeof portsOf>;

  const handlers: Record<StepName, (process: Process, invocation: Invocation) => Promise<unknown>> = {
    fetchInput: handled('fetchInput', fetchInput),
    validateInput: handled('validateInput', validateInput),
    planShards: handled('planShards', planShards),
    runShard: handled('runShard', runShard),
    finalizeBatch: handled('finalizeBatch', finalizeBatch),
    failBatch: handled('failBatch', failBatch),
    snapshotBatch: handled('snapshotBatch', snapshotBatch),
    notifyReceiver: handled('notifyReceiver', notifyReceiver),
  };

  /** Input and output are parsed by the step's contract, as in the deployed function. */
  function handled<S extends StepName>(
    step: S,
    run: (
      deps: Deps,
      input: Parameters<Parameters<typeof stepHandler<S>>[2]>[0],
      invocation: Invocation,
    ) => ReturnType<Parameters<typeof stepHandler<S>>[2]>,
  ) {
    return (process: Process, invocation: Invocation): Promise<unknown> => {
      const deps = portsOf(process);
      const handler = stepHandler(step, { log }, (input) => run(deps, input, invocation));
      // The handler asks its context for two things.
      const context = { awsRequestId: 'simulated', getRemainingTimeInMillis: () => invocation.remainingMs() };
      return handler(structuredClone(process.payload), context as Parameters<typeof handler>[1]);
    };
  }

  /** Runs one function as Lambda would: it ends, fails, or is cut off at its timeout. */
  async function invoke(functionArn: string, payload: Json): Promise<Json> {
    const step = plan.steps.get(functionArn);
    if (!step) throw new Error(`There is no function ${functionArn}`);
    const once = async () => {
      const process = new Process(`workflow/${step}`, payload);
      return (await withinItsTime(process, (invocation) => handlers[step](process, invocation))) as Json;
    };
    return options.around ? options.around({ step, payload }, once) : once();
  }

  async function withinItsTime<T>(process: Process, run: (invocation: Invocation) => Promise<T>): Promise<T> {
    const { functionName } = process;
    const timeoutMs = (options.timeoutSeconds?.[functionName] ?? functions[functionName].timeoutSeconds) * 1000;
    const startedAt = time.now;
    const ended = new AbortController();
    const invocation = { remainingMs: () => startedAt + timeoutMs - time.now };
    const cutOff = time.clock.sleep(timeoutMs, ended.signal).then(() => {
      process.kill();
      throw new StatesError('Sandbox.Timedout', `${functionName} ran for ${timeoutMs / 1000} s`);
    });
    cutOff.catch(() => undefined);
    try {
      return await Promise.race([run(invocation), process.died.promise, cutOff]);
    } finally {
      ended.abort();
    }
  }

  /** Runs `run` as one invocation of that function: a request of a client, or what the schedule begins. */
  function request<T>(functionName: FunctionName, run: (deps: Deps, invocation: Invocation) => Promise<T>): Promise<T> {
    const process = new Process(functionName);
    return withinItsTime(process, (invocation) => run(portsOf(process), invocation));
  }

  /** The same with nobody in between: for who looks on. */
  function undisturbed<T>(
    functionName: FunctionName,
    run: (deps: Deps, invocation: Invocation) => Promise<T>,
  ): Promise<T> {
    const process = new Process(functionName);
    const untouched: Interceptor = (_, proceed) => proceed();
    return withinItsTime(process, (invocation) => run(portsOf(process, untouched), invocation));
  }

  /** What the schedule runs each minute. */
  const check = () => request('schedule/checkBatches', (deps) => checkBatches(deps));
  /** What it runs once a day. */
  const sweep = () => request('schedule/sweepBatches', (deps, invocation) => sweepBatches(deps, invocation));

  async function readText(key: string): Promise<string> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of await trackedStores.files.read(key)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }

  return {
    time,
    settings,
    log,
    workflow,
    stores: trackedStores,
    ids,
    random,
    portsOf,
    request,
    undisturbed,
    check,
    sweep,
    readText,
    /** Runs `main` in virtual time, with a check each minute beside it. */
    async run<T>(main: () => Promise<T>): Promise<T> {
      const over = new AbortController();
      const schedule = async () => {
        for (;;) {
          await time.clock.sleep(options.checkEveryMs?.() ?? CHECK_EVERY_MS, over.signal);
          await check().catch((error: unknown) => log.warn('check failed', { error }));
        }
      };
      const scheduled = schedule().catch(() => undefined);
      try {
        return await time.run(main());
      } finally {
        over.abort();
        await scheduled;
        workflow.stopAll();
      }
    },
    async close() {
      if (!options.stack) await stack.close();
    },
  };
}
export type Simulation = Awaited<ReturnType<typeof startSimulation>>;
export type SimulatedPorts = ReturnType<Simulation['portsOf']>;
