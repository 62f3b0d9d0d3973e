import { ulid } from 'ulid';
import type { BatchRef } from '../../shared/domain/batch.ts';
import { ModelsFileSchema } from '../../shared/domain/models.ts';
import type { ModelLimits } from '../../shared/domain/retry/callShare.ts';
import type { ShareAsk } from '../../shared/ports.ts';
import { MOST_LINES_FACTOR } from '../../shared/usecases/runShard/shardCommits.ts';
import { type Interceptor, type PortCall, startSimulation } from '../simulation/simulation.ts';
import type { Stack } from '../simulation/stack.ts';
import { STREAMS } from '../simulation/trackedPorts.ts';
import { checkAgain } from '../soak/checkEnd.ts';
import { drain } from '../soak/drain.ts';
import type { Known, View } from '../soak/ledger.ts';
import { live, type Scene } from '../soak/life.ts';
import { hold, Violation } from '../soak/violation.ts';
import { type Random, seededRandom } from '../support/random.ts';
import { createApi } from './api.ts';
import { createChaosClient } from './client.ts';
import { EventDigest } from './eventDigest.ts';
import { Injector } from './injector.ts';
import { type ChaosModel, createChaosModel, MEAN_CALL_MS } from './model.ts';
import type { PlantedBug } from './plantedBugs.ts';
import { createChaosReceivers } from './receivers.ts';
import { drawRun, type RunSpec } from './runSpec.ts';
import { createChaosSource } from './source.ts';
import { drawnWeather, type Fault, LATE_MS, SKEW_MS } from './weather.ts';

export type RunResult = {
  seed: number;
  run: number;
  violation: Violation | undefined;
  faults: Map<Fault, number>;
  batches: number;
  lines: number;
  calls: number;
  answers: number;
  repeatedAnswers: number;
  virtualMinutes: number;
  /** Of every call of a port, in order, with its process and the time. */
  digest: string;
};

export type RunOptions = {
  /** On which this run was not made before. */
  stack: Stack;
  seed: number;
  run: number;
  /** Stands before the faults: what it changes, the process does. */
  bug?: PlantedBug;
  /** Told of every call of a port, for whoever looks into a violation. */
  onEvent?(event: string): void;
};

const MINUTE_MS = 60_000;
/** Once the faults are over everything ends within this: attempts that came to nothing are up to an hour apart. */
const PATIENCE_MS = 5 * 60 * MINUTE_MS;
const ENDPOINTS = ['chat/completions', 'completions', 'responses', 'embeddings'];
/** A call is begun at once, but for what happens in the same moment. */
const DEADLINE_LEEWAY_MS = 1_000;
/** The longest `Retry-After` of the script and pause of a circuit, and then some. */
const WINDOW_SHADOW_MS = 7 * MINUTE_MS;

/** One run in virtual time: batches of all kinds under the faults that its seed and number draw. */
export async function runSimulated(options: RunOptions): Promise<RunResult> {
  const { stack, seed, run } = options;
  const label = `p${seed}-${run}`;
  const random = seededRandom(seed).fork(`run ${run}`);
  const drawn = drawRun(random.fork('spec'));
  const spec = options.bug ? withBug(options.bug, drawn) : drawn;
  const faults = new Map<Fault, number>();
  /** Calls that the faults may have made workers make again. */
  let repeatable = 0;
  const digest = new EventDigest(options.onEvent);
  const onFault = (fault: Fault, where: string) => {
    faults.set(fault, (faults.get(fault) ?? 0) + 1);
    digest.add(`FAULT ${fault} ${where}`);
    if (DISTURBING.test(fault) && /runShard|execution/.test(where))
      repeatable += mostRepeated(spec) * (where === 'execution' ? spec.settings.shards.maxWorkers : 1);
  };
  const scenes: Scene[] = [];
  const endedBatches: BatchRef[] = [];
  const injector = new Injector({
    weather: spec.weather,
    random: random.fork('injector'),
    onFault,
    isOwn: (projectId) => projectId.startsWith(`${label}-`),
    anEndedBatch: () => endedBatches.at(-1),
  });
  let model: ChaosModel | undefined;
  let violation: Violation | undefined;
  const source = createChaosSource();
  const idRandom = random.fork('ids');

  /** What is known of a model is shared by all that call it: here by one run, since the next begins at the same time. */
  const ownModels = (call: PortCall): PortCall => {
    const [first] = call.args;
    if (call.port === 'circuits') call.args[0] = `${label}-${String(first)}`;
    if (call.port === 'callShares') {
      const ask = first as ShareAsk;
      call.args[0] = { ...ask, model: `${label}-${ask.model}` };
    }
    return call;
  };
  let planted: Interceptor = (_, proceed) => proceed();
  const simulation = await startSimulation({
    stack,
    models: chaosModels(spec.limits),
    settings: spec.settings,
    timeoutSeconds: spec.timeoutSeconds,
    random: random.fork('product'),
    ids: (time) => ({
      ulid: () => ulid(time.now, () => idRandom.next()),
      secretBytes: (count) => Uint8Array.from({ length: count }, () => idRandom.int(0, 255)),
    }),
    model: (time) => {
      injector.attach(time);
      source.attach(time);
      digest.attach(time);
      model = createChaosModel(time, random.fork('model'), spec.weather, {
        onFault,
        requestsPerMinute: { first: spec.limits?.requests_per_minute },
        clockJumps: () => faults.get('clock_jumps') ?? 0,
        thawed: (process) => injector.thawed(process),
      });
      return model;
    },
    sources: source,
    around: injector.around,
    intercept: digest.watch((call, proceed) => planted(ownModels(call), () => injector.intercept(call, proceed))),
    checkEveryMs: () => (injector.isOver ? 3 : 1) * MINUTE_MS,
    receive: (url, headers, body) => receivers.receive(url, headers, body),
  });
  const { time } = simulation;
  const startedAt = time.now;
  injector.deletePart = (key) => void simulation.stores.files.delete([key]);
  if (!model) throw new Error('The simulation has asked for no model');
  const books = { ...model, windowShadowMs: WINDOW_SHADOW_MS, harmDone: (id: string) => injector.harmDone(id) };

  const patienceUntil = startedAt + spec.weather.faultsForMs + PATIENCE_MS;
  const pause = async (ms: number, why?: string) => {
    const { repeatedAnswers } = books.totals;
    if (repeatedAnswers > repeatable)
      throw new Violation(undefined, `${repeatedAnswers} model calls were repeated, where ${repeatable} may be`);
    const broken = violation ?? model?.violation() ?? receivers.violation();
    if (broken) throw broken;
    if (time.now > patienceUntil) {
      const open = scenes.flatMap((scene) => [...scene.books.values()]).find((known) => !known.ended);
      throw new Violation(open?.id, why ?? `It is left open: ${JSON.stringify(open?.newest)}`);
    }
    await time.clock.sleep(ms);
  };

  /** The API without faults, for the checker. */
  const truthOf = (projectId: string) => createApi({ ...simulation, request: simulation.undisturbed }, projectId);

  const receivers = createChaosReceivers({
    time,
    random: random.fork('receivers'),
    viewOf: async (projectId, id) => (await truthOf(projectId)('GET', `/batches/${id}`)).body as View,
    secretsOf: async (projectId) => {
      const secret = await simulation.stores.webhookSecrets.get(projectId);
      return secret ? [secret, ...(secret.previous ?? [])].map((each) => each.secret) : [];
    },
  });

  if (options.bug) {
    const plantedBug = options.bug.plant({ ...simulation, receive: receivers.receive });
    // The clock and streams answer at once.
    planted = (call, proceed) =>
      call.port === 'clock' || STREAMS.has(`${call.port}.${call.method}`) ? proceed() : plantedBug(call, proceed);
  }

  const main = async () => {
    const disturbed = injector.disturb(simulation.workflow);
    const operators = operate(injector, () => simulation.check().catch(() => undefined), random.fork('operator'));
    if (spec.inTurn) for (const [index, project] of spec.projects.entries()) await runProject(project, index);
    else await Promise.all(spec.projects.map(runProject));
    await Promise.all([disturbed, operators]);
    // Whatever was held back has arrived by then.
    if (faults.size > 0) await time.clock.sleep(2 * LATE_MS);
    await simulation.sweep();
    for (const scene of scenes) {
      await drain(scene, receivers, PATIENCE_MS);
      for (const known of scene.books.values()) {
        await checkAgain(scene, known);
        const last = books.lastCallAt.get(known.id) ?? 0;
        const deadline = Date.parse(known.newest.expires_at) + DEADLINE_LEEWAY_MS;
        hold(last <= deadline, known.id, () => `A model was called ${last - deadline} ms after its deadline`);
      }
    }
    for (const id of receivers.batches())
      hold(
        scenes.some((scene) => scene.books.has(id)),
        id,
        () => 'A batch that nobody made was told of',
      );
    const { repeatedAnswers } = books.totals;
    if (repeatedAnswers > repeatable)
      throw new Violation(undefined, `${repeatedAnswers} model calls were repeated, where ${repeatable} may be`);
    const broken = violation ?? model?.violation() ?? receivers.violation();
    if (broken) throw broken;
  };

  async function runProject(project: RunSpec['projects'][number], index: number): Promise<void> {
    const projectId = `${label}-${index}`;
    const own = random.fork(`project ${index}`);
    const api = createApi(simulation, projectId);
    const scene: Scene = {
      client: createChaosClient(simulation, api, own.fork('client'), pause),
      model: books,
      source,
      system: { wasUp: () => true, upBefore: (to, from) => to - from },
      receiverUrl: `http://127.0.0.1/${projectId}`,
      bounds: {
        cancelSeconds: Number.POSITIVE_INFINITY,
        cancelAfterRestartSeconds: Number.POSITIVE_INFINITY,
        expirySeconds: Number.POSITIVE_INFINITY,
        skewMs:
          spec.weather.rates.clock_wrong + spec.weather.rates.clock_jumps > 0 ? SKEW_MS.ahead + SKEW_MS.behind : 0,
      },
      books: new Map(),
      tally: { lines: 0, output: 0, errors: 0, byCode: new Map() },
      longest: { cancelMs: 0, expiryMs: 0 },
      counts: { cancels: 0, cancelsTooLate: 0, retries: 0, retriesRefused: 0, snapshots: 0 },
      pause,
      // Seldom, once nothing but waiting goes on.
      lookMs: {
        get least() {
          return injector.isOver ? 20_000 : 3_000;
        },
        get most() {
          return injector.isOver ? 120_000 : 20_000;
        },
        eager: 2_000,
      },
      isClosing: () => false,
    };
    scenes.push(scene);
    const rotating = project.rotatesSecret ? rotate(scene, own.fork('rotation')) : undefined;
    await Promise.all(project.batches.map((batch) => live(scene, own.fork(batch.name), batch)));
    await rotating;
    if (spec.inTurn) for (const known of scene.books.values()) holdToItsTime(known, spec);
    for (const { id, ended } of scene.books.values()) if (ended) endedBatches.push({ projectId, batchId: id });
  }

  // It would end the process of a function in the middle of its work.
  const onUnhandled = (error: unknown) => {
    violation ??= new Violation(undefined, `Nobody waits for ${error instanceof Error ? error.stack : String(error)}`);
  };
  process.on('unhandledRejection', onUnhandled);
  try {
    await simulation.run(main);
  } catch (error) {
    // Told at the moment, thrown at the next pause: what was thrown before that may be what comes of it.
    violation ??= model?.violation() ?? receivers.violation();
    violation ??= error instanceof Violation ? error : new Violation(undefined, String((error as Error).stack));
  } finally {
    process.off('unhandledRejection', onUnhandled);
  }
  const tallies = scenes.map(({ tally }) => tally.lines);
  return {
    ...{ seed, run, violation, faults },
    batches: scenes.reduce((sum, scene) => sum + scene.books.size, 0),
    lines: tallies.reduce((sum, lines) => sum + lines, 0),
    ...books.totals,
    virtualMinutes: (time.now - startedAt) / MINUTE_MS,
    digest: digest.value,
  };
}

function withBug({ weather, change }: PlantedBug, drawn: RunSpec): RunSpec {
  const faultsForMs = Object.keys(weather).length > 0 ? drawn.weather.faultsForMs : 0;
  const spec = { ...drawn, weather: drawnWeather(weather, faultsForMs) };
  return change?.(spec) ?? spec;
}

/** A batch that has its model to itself uses at least a third of the places that the model has. */
function holdToItsTime({ newest, lines }: Known, { limits }: RunSpec): void {
  const { id, in_progress_at: from, finalizing_at: to } = newest;
  const mostMs = (3 * lines.length * MEAN_CALL_MS) / (limits?.calls_in_flight ?? MAX_IN_FLIGHT) + MINUTE_MS;
  const tookMs = Date.parse(to ?? '') - Date.parse(from ?? '');
  hold(
    tookMs <= mostMs,
    id,
    () => `Alone at its model it took ${tookMs / 1000} s, where ${mostMs / 1000} s are plenty`,
  );
}

/** Ends a worker, puts another one beside it, or keeps it from committing. */
const DISTURBING = /killed|frozen|answer_lost|invoked|execution|table|file/;
/** Calls in flight at a time, and while one call of a port is slow. */
const MAX_IN_FLIGHT = 64;
const MEANWHILE = 640;

/** A crash repeats at most the calls since the last commit, and those under way. */
function mostRepeated({ settings, weather }: RunSpec): number {
  const waiting = Math.min(
    MOST_LINES_FACTOR * settings.worker.commitLines,
    settings.worker.commitLines + MAX_IN_FLIGHT,
  );
  return waiting + MAX_IN_FLIGHT + (weather.rates.slow > 0 ? MEANWHILE : 0);
}

/** Has the operator look beside the schedule. */
async function operate(injector: Injector, check: () => Promise<unknown>, random: Random) {
  while (!injector.isOver) {
    await injector.time.clock.sleep(random.int(10_000, 300_000));
    await check();
  }
}

async function rotate({ client, pause }: Scene, random: Random): Promise<void> {
  for (let times = random.int(1, 3); times > 0; times--) {
    await pause(random.int(10_000, 300_000));
    await client.call('POST', '/webhooks/secret/rotate');
  }
}

/** The first model has the limits. */
function chaosModels(limits: ModelLimits | undefined) {
  const model = (name: string) => ({ provider: 'p', model: name, endpoints: ENDPOINTS });
  return ModelsFileSchema.parse({
    providers: { p: { kind: 'simulator' } },
    models: {
      default: { ...model('first'), ...(limits && { limits }) },
      other: model('second'),
      embedding: model('third'),
    },
    agents: { '*': { model: 'default' } },
    vectors: { model: 'embedding' },
  });
}
