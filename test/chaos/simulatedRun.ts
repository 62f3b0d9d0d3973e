import { ulid } from 'ulid';
import { ModelsFileSchema } from '../../shared/domain/models.ts';
import type { ModelLimits } from '../../shared/domain/retry/callShare.ts';
import type { ShareAsk } from '../../shared/ports.ts';
import { type Interceptor, type PortCall, startSimulation } from '../simulation/simulation.ts';
import type { Stack } from '../simulation/stack.ts';
import { STREAMS } from '../simulation/trackedPorts.ts';
import { checkAgain } from '../soak/checkEnd.ts';
import { drain } from '../soak/drain.ts';
import type { View } from '../soak/ledger.ts';
import type { Scene } from '../soak/life.ts';
import { hold, Violation } from '../soak/violation.ts';
import { seededRandom } from '../support/random.ts';
import { createApi } from './api.ts';
import { createScene, operate, runProject } from './clients.ts';
import { EventDigest } from './eventDigest.ts';
import { Injector } from './injector.ts';
import { type ChaosModel, createChaosModel } from './model.ts';
import type { PlantedBug } from './plantedBugs.ts';
import { createChaosReceivers } from './receivers.ts';
import { holdToDeadline, holdToItsTime, mostRepeated } from './rules.ts';
import { drawRun, type RunSpec } from './runSpec.ts';
import { createChaosSource } from './source.ts';
import { drawnWeather, type Fault, LATE_MS } from './weather.ts';

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
    repeatable += mostRepeated(spec, fault, where);
  };
  const scenes: Scene[] = [];
  const injector = new Injector({
    weather: spec.weather,
    random: random.fork('injector'),
    onFault,
    isOwn: (projectId) => projectId.startsWith(`${label}-`),
    anEndedBatch() {
      const ended = scenes.flatMap(({ books }) => [...books.values()]).findLast((known) => known.ended);
      return ended && { projectId: String(ended.newest.project_id), batchId: ended.id };
    },
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

  /** Throws what the model and the receivers have seen. */
  const holdSoFar = () => {
    const { repeatedAnswers } = books.totals;
    if (repeatedAnswers > repeatable)
      throw new Violation(undefined, `${repeatedAnswers} model calls were repeated, where ${repeatable} may be`);
    const broken = violation ?? model?.violation() ?? receivers.violation();
    if (broken) throw broken;
  };
  const patienceUntil = startedAt + spec.weather.faultsForMs + PATIENCE_MS;
  const pause = async (ms: number, why?: string) => {
    holdSoFar();
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
    const projects = spec.projects.map((project, index) => async () => {
      const own = random.fork(`project ${index}`);
      const scene = createScene({ simulation, injector, spec, model: books, source, pause }, `${label}-${index}`, own);
      scenes.push(scene);
      await runProject(scene, project, own);
      if (spec.inTurn) for (const known of scene.books.values()) holdToItsTime(known, spec);
    });
    if (spec.inTurn) for (const project of projects) await project();
    else await Promise.all(projects.map((project) => project()));
    await Promise.all([disturbed, operators]);
    // Whatever was held back has arrived by then.
    if (faults.size > 0) await time.clock.sleep(2 * LATE_MS);
    await simulation.sweep();
    for (const scene of scenes) {
      await drain(scene, receivers, PATIENCE_MS);
      for (const known of scene.books.values()) {
        await checkAgain(scene, known);
        holdToDeadline(known, books.lastCallAt.get(known.id) ?? 0);
      }
    }
    for (const id of receivers.batches())
      hold(
        scenes.some((scene) => scene.books.has(id)),
        id,
        () => 'A batch that nobody made was told of',
      );
    holdSoFar();
  };

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
