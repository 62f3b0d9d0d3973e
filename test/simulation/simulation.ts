import { ulid } from 'ulid';
import { synthesize } from '../../local/synth.ts';
import { readAssembly } from '../../local/template/assembly.ts';
import { planFromAssembly } from '../../local/template/readTemplate.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { type FunctionName, functions } from '../../shared/contract/functions.ts';
import { type Settings, SettingsSchema } from '../../shared/contract/settings.ts';
import { type StepName, steps } from '../../shared/contract/steps.ts';
import type { ModelsFile } from '../../shared/domain/models.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import type { Invocation, ModelProvider, Ports, Random, ReceiverAnswer } from '../../shared/ports.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';
import { failBatch } from '../../shared/usecases/failBatch.ts';
import { fetchInput } from '../../shared/usecases/fetchInput.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { notifyReceiver } from '../../shared/usecases/notifyReceiver.ts';
import { planShards } from '../../shared/usecases/planShards.ts';
import { runShard } from '../../shared/usecases/runShard.ts';
import { snapshotBatch } from '../../shared/usecases/snapshotBatch.ts';
import { validateInput } from '../../shared/usecases/validateInput.ts';
import { startDynalite } from '../support/dynalite.ts';
import { startLocalS3 } from '../support/localS3.ts';
import { recordedLog } from '../support/recordedLog.ts';
import { type Definition, type Json, StatesError } from './machine.ts';
import { createSimulatedWorkflow } from './simulatedWorkflow.ts';
import { tracked } from './trackedPorts.ts';
import { VirtualTime } from './virtualTime.ts';

/** One invocation of one function. A dead process's calls never come back, and its caller is told at once. */
export class Process {
  readonly functionName: FunctionName;
  readonly died = Promise.withResolvers<never>();
  #dead = false;

  constructor(functionName: FunctionName) {
    this.functionName = functionName;
    this.died.promise.catch(() => undefined);
  }

  get dead(): boolean {
    return this.#dead;
  }

  kill(): void {
    this.#dead = true;
    this.died.reject(new StatesError('Lambda.Unknown', `${this.functionName} was killed`));
  }
}

/** One call of a port by a process; `proceed` makes it. What an interceptor answers or throws is what the process sees. */
export type PortCall = { process: Process; port: string; method: string; args: unknown[] };
export type Interceptor = (call: PortCall, proceed: () => unknown) => unknown;

export type SimulationOptions = {
  models: ModelsFile;
  /** Answers the models' calls, in virtual time. */
  model: (time: VirtualTime) => ModelProvider;
  random: Random;
  settings?: Record<string, unknown>;
  intercept?: Interceptor;
  receive?: (url: string, headers: Record<string, string>, body: string) => ReceiverAnswer;
};

const START = Date.parse('2026-01-15T10:00:00.000Z');
const CHECK_EVERY_MS = 60_000;

/**
 * The whole workflow in virtual time: the synthesized machines, the real use cases and adapters, a real table and
 * bucket. Only the models, the receivers and Step Functions' own timers are simulated.
 */
export async function startSimulation(options: SimulationOptions) {
  const { models, random, intercept = (_, proceed) => proceed() } = options;
  const settings: Settings = SettingsSchema.parse({ allowPrivateNetworks: true, ...options.settings });
  const [table, s3, plan] = await Promise.all([startDynalite(), startLocalS3(), readPlan()]);
  const time = new VirtualTime(START);
  const log = recordedLog();
  const provider = options.model(time);
  const stores = {
    ...tablePorts(table.tableName, table.client),
    files: createFileStore({ client: s3.client, bucket: s3.bucket }),
  };
  const trackedStores = Object.fromEntries(
    Object.entries(stores).map(([name, port]) => [name, tracked(time, port as object)]),
  ) as typeof stores;
  const ids = { ulid: () => ulid(time.now), secretBytes: (count: number) => new Uint8Array(count).fill(7) };
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
  function portsOf(process: Process) {
    const own = {
      ...trackedStores,
      workflow,
      providers: { get: async () => provider },
      receivers: {
        post: async (url: string, { headers, body }: { headers: Record<string, string>; body: string }) =>
          options.receive?.(url, headers, body) ?? ({ kind: 'answered', status: 200 } as const),
      },
      sources: {
        open: () => Promise.reject(new Error('The simulation has uploads only')),
      },
      clock: time.clock,
    };
    const seen = Object.fromEntries(
      Object.entries(own).map(([name, port]) => [name, intercepted(process, name, port as object, intercept)]),
    ) as typeof own;
    return { ...seen, ids, random, log, settings, models: models };
  }

  const handlers: Record<StepName, (process: Process, input: Json, invocation: Invocation) => Promise<unknown>> = {
    fetchInput: (process, input, invocation) => {
      const deps = portsOf(process);
      return handled('fetchInput', deps.log, input, invocation, (parsed) => fetchInput(deps, parsed, invocation));
    },
    validateInput: (process, input, invocation) => {
      const deps = portsOf(process);
      return handled('validateInput', deps.log, input, invocation, (parsed) => validateInput(deps, parsed, invocation));
    },
    planShards: (process, input, invocation) => {
      const deps = portsOf(process);
      return handled('planShards', deps.log, input, invocation, (parsed) => planShards(deps, parsed, invocation));
    },
    runShard: (process, input, invocation) => {
      const deps = portsOf(process);
      return handled('runShard', deps.log, input, invocation, (parsed) => runShard(deps, parsed, invocation));
    },
    finalizeBatch: (process, input, invocation) => {
      const deps = portsOf(process);
      return handled('finalizeBatch', deps.log, input, invocation, (parsed) => finalizeBatch(deps, parsed, invocation));
    },
    failBatch: (process, input, invocation) => {
      const deps = portsOf(process);
      return handled('failBatch', deps.log, input, invocation, (parsed) => failBatch(deps, parsed, invocation));
    },
    snapshotBatch: (process, input, invocation) => {
      const deps = portsOf(process);
      return handled('snapshotBatch', deps.log, input, invocation, (parsed) => snapshotBatch(deps, parsed, invocation));
    },
    notifyReceiver: (process, input, invocation) => {
      const deps = portsOf(process);
      return handled('notifyReceiver', deps.log, input, invocation, (parsed) => notifyReceiver(deps, parsed));
    },
  };

  /** Runs one function as Lambda would: it ends, fails, or is cut off at its timeout. */
  async function invoke(functionArn: string, payload: Json): Promise<Json> {
    const step = plan.steps.get(functionArn);
    if (!step) throw new Error(`There is no function ${functionArn}`);
    const process = new Process(`workflow/${step}`);
    return (await withinItsTime(process, (invocation) => handlers[step](process, payload, invocation))) as Json;
  }

  async function withinItsTime<T>(process: Process, run: (invocation: Invocation) => Promise<T>): Promise<T> {
    const timeoutMs = functions[process.functionName].timeoutSeconds * 1000;
    const startedAt = time.now;
    const ended = new AbortController();
    const invocation = { remainingMs: () => startedAt + timeoutMs - time.now };
    const cutOff = time.clock.sleep(timeoutMs, ended.signal).then(() => {
      process.kill();
      throw new StatesError('Sandbox.Timedout', `${process.functionName} ran for ${timeoutMs / 1000} s`);
    });
    cutOff.catch(() => undefined);
    try {
      return await Promise.race([run(invocation), process.died.promise, cutOff]);
    } finally {
      ended.abort();
    }
  }

  /** What the schedule runs each minute. */
  async function check() {
    const process = new Process('schedule/checkBatches');
    return await withinItsTime(process, () => checkBatches(portsOf(process)));
  }

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
    check,
    readText,
    /** Runs `main` in virtual time, with a check each minute beside it. */
    async run<T>(main: () => Promise<T>): Promise<T> {
      const over = new AbortController();
      const schedule = async () => {
        for (;;) {
          await time.clock.sleep(CHECK_EVERY_MS, over.signal);
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
      await Promise.all([table.close(), s3.close()]);
    },
  };
}
export type Simulation = Awaited<ReturnType<typeof startSimulation>>;

/** The machines as they are deployed, and which step each function's ARN stands for. */
async function readPlan() {
  const dir = await synthesize({ modelsFile: new URL('../../models.json', import.meta.url).pathname, settings: {} });
  const { machines, functions: made } = planFromAssembly(readAssembly(dir));
  const machineOf = (kind: string) => {
    const found = machines.find(({ name }) => name.includes(kind));
    if (!found) throw new Error(`The template has no ${kind}`);
    return found.definition as Definition;
  };
  const named = Object.keys(steps) as StepName[];
  const stepOf = (logicalId: string) =>
    named.find((step) => logicalId.startsWith(`FunctionsWorkflow${step[0]?.toUpperCase()}${step.slice(1)}`));
  return {
    machines: {
      batch: machineOf('BatchMachine'),
      notification: machineOf('NotificationMachine'),
      snapshot: machineOf('SnapshotMachine'),
    },
    steps: new Map(
      made.flatMap(({ arn, logicalId }) => {
        const step = stepOf(logicalId);
        return step ? [[arn, step] as const] : [];
      }),
    ),
  };
}

/** Input and output are parsed by the step's contract, as in the deployed function. */
async function handled<S extends StepName>(
  step: S,
  log: Ports['log'],
  input: Json,
  invocation: Invocation,
  run: Parameters<typeof stepHandler<S>>[2],
): Promise<unknown> {
  const handler = stepHandler(step, { log }, run);
  // The handler asks its context for two things.
  const context = { awsRequestId: 'simulated', getRemainingTimeInMillis: () => invocation.remainingMs() };
  return await handler(structuredClone(input), context as Parameters<typeof handler>[1]);
}

/** Puts the interceptor before every call, and lets nothing come back to a process that has died. */
function intercepted<T extends object>(process: Process, port: string, target: T, intercept: Interceptor): T {
  const never = new Promise<never>(() => undefined);
  return new Proxy(target, {
    get(object, name, receiver) {
      const member: unknown = Reflect.get(object, name, receiver);
      if (typeof member !== 'function' || typeof name !== 'string') return member;
      return (...args: unknown[]) => {
        if (port === 'clock' && name === 'now') return Reflect.apply(member, object, args);
        if (process.dead) return never;
        const answer = intercept({ process, port, method: name, args }, () => Reflect.apply(member, object, args));
        if (!(answer instanceof Promise)) return answer;
        return answer.then(
          (value) => (process.dead ? never : value),
          (error: unknown) => {
            if (process.dead) return never;
            throw error;
          },
        );
      };
    },
  });
}
