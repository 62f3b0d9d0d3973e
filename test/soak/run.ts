import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Post } from '../support/notificationReceiver.ts';
import { type Random, seededRandom } from '../support/random.ts';
import { drawBatch } from './batchSpec.ts';
import { type Bounds, checkAgain, getBatch } from './checkEnd.ts';
import type { Witness } from './checkLines.ts';
import { createClient } from './client.ts';
import { drain, type Receivers } from './drain.ts';
import { live, type Scene } from './life.ts';
import { type SoakModel, startModel } from './model.ts';
import { checkReceived, startReceivers } from './notifications.ts';
import { startSource } from './source.ts';
import { System } from './system.ts';
import { hold, Violation } from './violation.ts';

export type SoakOptions = {
  seed: number;
  /** Of new batches and restarts, once the system is up; what is open then is brought to its end. */
  seconds: number;
  /** For that. */
  drainSeconds: number;
  openBatches: number;
  /** Pauses between two restarts. */
  restartSeconds: readonly [least: number, most: number];
  bounds: Bounds;
  /** No batch that takes minutes by itself. */
  brief: boolean;
  /** The processes that workers run in are killed, too. */
  killsWorkers: boolean;
  onProgress(text: string): void;
};

/** With what the operator has in hand. */
export type SoakScene = Scene & { system: System; model: SoakModel & Witness; signal: AbortSignal };

export type SoakResult = {
  violation: Violation | undefined;
  scene: SoakScene;
  /** Kept where there was a violation. */
  dataDir: string;
  seconds: number;
};

/** Batches of all kinds against a system that is stopped and killed, until the time is over or something is wrong. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const begun = Date.now();
  await using stack = new AsyncDisposableStack();
  const random = seededRandom(options.seed);
  const dataDir = await mkdtemp(join(tmpdir(), 'batch-api-soak-'));
  const abort = new AbortController();

  const model = stack.adopt(await startModel(random.fork('model')), (each) => each.close());
  const source = stack.adopt(await startSource(), (each) => each.close());
  const modelsFile = join(dataDir, 'models.json');
  const system = stack.adopt(await prepare(dataDir, modelsFile, model.baseUrl), (each) => each.dispose());
  const checkPost = (post: Post) =>
    orViolation(getBatch(scene, post.batchId).then((view) => checkReceived(view, post.body)));
  const receivers = stack.adopt(
    await startReceivers(random.fork('receivers'), () => system.secret, checkPost),
    (each) => each.close(),
  );
  let endsAt = Number.POSITIVE_INFINITY;
  const scene: SoakScene = {
    client: createClient(system, abort.signal),
    model: {
      ...model,
      // Retries pause for 5 s at most.
      windowShadowMs: 30_000,
      harmDone: () => ({ workersDied: system.counts.kills + system.counts.workerKills >= 3, partsDeleted: false }),
    },
    source,
    system,
    receiverUrl: receivers.url,
    bounds: options.bounds,
    books: new Map(),
    tally: { lines: 0, output: 0, errors: 0, byCode: new Map() },
    longest: { cancelMs: 0, expiryMs: 0 },
    counts: { cancels: 0, cancelsTooLate: 0, retries: 0, retriesRefused: 0, snapshots: 0 },
    signal: abort.signal,
    pause: (ms) => sleep(ms, undefined, { signal: abort.signal }),
    // Gathering a small batch takes a moment: who waits for it looks all the time.
    lookMs: { least: 100, most: 600, eager: 5 },
    isClosing: () => Date.now() >= endsAt,
  };
  const progress = setInterval(() => options.onProgress(progressLine(scene, begun)), 10_000);
  stack.defer(() => clearInterval(progress));

  let violation: Violation | undefined;
  /** The first that goes wrong ends all. */
  const orViolation = async (work: Promise<unknown>) => {
    try {
      await work;
    } catch (error) {
      if (abort.signal.aborted) return;
      abort.abort();
      violation = error instanceof Violation ? error : new Violation(undefined, String((error as Error).stack));
    }
  };
  const watching = orViolation(system.watch(abort.signal));
  await orViolation(system.start('whole'));
  endsAt = Date.now() + options.seconds * 1000;
  const work = [
    ...Array.from({ length: options.openBatches }, (_, slot) => clients(scene, random, slot, options)),
    operate(scene, random.fork('operator'), options),
    doubt(scene, random.fork('doubt')),
    ...(options.killsWorkers ? [killWorkers(scene, random.fork('workers'))] : []),
  ];
  const over = new AbortController();
  const bounded = orViolation(patience(scene, endsAt + options.drainSeconds * 1000, over.signal));
  await Promise.all(work.map(orViolation));
  over.abort();
  await bounded;
  await orViolation(drain(scene, receivers, options.drainSeconds * 1000));
  await orViolation(nobodyElse(scene, receivers));
  abort.abort();
  await watching;
  if (!violation) stack.defer(() => rm(dataDir, { recursive: true, force: true }));
  return { violation, scene, dataDir, seconds: (Date.now() - begun) / 1000 };
}

async function prepare(dataDir: string, modelsFile: string, baseUrl: string): Promise<System> {
  const endpoints = ['chat/completions', 'completions', 'responses'];
  const models = {
    providers: { soak: { kind: 'openai', base_url: baseUrl, api_key: false } },
    models: {
      default: { provider: 'soak', model: 'first', endpoints },
      other: { provider: 'soak', model: 'second', endpoints },
      embedding: { provider: 'soak', model: 'third', endpoints: ['embeddings'] },
    },
    agents: { '*': { model: 'default' } },
    vectors: { model: 'embedding' },
  };
  await writeFile(modelsFile, JSON.stringify(models));
  return new System(join(dataDir, 'data'), modelsFile);
}

/** Throws where a batch is still open so long after the last one was made. */
async function patience({ books }: Scene, until: number, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const open = [...books.values()].find((known) => !known.ended);
    if (Date.now() > until && open)
      throw new Violation(open.id, `It is left open: it is ${open.newest.status} (${JSON.stringify(open.newest)})`);
    await sleep(500);
  }
}

/** One client after the other. */
async function clients(scene: Scene, random: Random, slot: number, { openBatches, brief }: SoakOptions): Promise<void> {
  for (let turn = 0; !scene.isClosing(); turn++) {
    const number = turn * openBatches + slot;
    const own = random.fork(`batch ${number}`);
    await live(scene, own, drawBatch(own, number, { brief }));
  }
}

/** So many model calls, or the end of a batch: a system that is slow is not killed before it has come to anything. */
const PROGRESS_CALLS = 40;

/** Restarts of the system and outages of the model. */
async function operate(scene: SoakScene, random: Random, { restartSeconds }: SoakOptions): Promise<void> {
  const { system, model, signal } = scene;
  const pause = (least: number, most: number) => sleep(random.int(least * 1000, most * 1000), undefined, { signal });
  const ended = () => [...scene.books.values()].filter((known) => known.ended).length;
  for (;;) {
    const before = { calls: model.totals.calls, ended: ended() };
    await pause(...restartSeconds);
    while (!scene.isClosing() && model.totals.calls < before.calls + PROGRESS_CALLS && ended() === before.ended)
      await pause(0, 1);
    if (scene.isClosing()) return;
    const event = random.weighted({ kill: 5, stop: 3, outage: 3, kill_at_start: 1 });
    if (event === 'outage') {
      model.setOutage(random.pick(['overloaded', 'cut']));
      await pause(1, 5);
      model.setOutage('none');
      continue;
    }
    await system.end(event === 'stop' ? 'stop' : 'kill');
    await pause(0, 3);
    const killAt = event === 'kill_at_start' ? random.pick(['Synthesizing', 'Starting the services']) : undefined;
    await system.start(random.pick(['whole', 'handing_over']), killAt);
  }
}

async function killWorkers({ system, signal, isClosing }: SoakScene, random: Random): Promise<void> {
  while (!isClosing()) {
    await sleep(random.int(3_000, 12_000), undefined, { signal });
    if (!isClosing()) await system.killWorker();
  }
}

/** Reads batches that have ended again and again, and has the operator look beside the schedule. */
async function doubt(scene: SoakScene, random: Random): Promise<void> {
  while (!scene.isClosing()) {
    await sleep(random.int(300, 1_500), undefined, { signal: scene.signal });
    if (random.chance(0.1)) {
      const { status, body } = await scene.client.call('GET', '/batches/check-batches', { asOperator: true });
      if (status !== 200) throw new Violation(undefined, `The check answered ${status}: ${JSON.stringify(body)}`);
    }
    const ended = [...scene.books.values()].filter((known) => known.ended);
    if (ended.length > 0) await checkAgain(scene, random.pick(ended));
  }
}

/** No receiver was told of a batch that nobody made. */
async function nobodyElse({ books }: Scene, receivers: Receivers): Promise<void> {
  for (const id of receivers.batches()) hold(books.has(id), id, () => 'A batch that nobody made was told of');
}

function progressLine({ books, system, tally, model, counts }: SoakScene, begun: number): string {
  const open = [...books.values()].filter((known) => !known.ended).length;
  const { starts, stops, kills, workerKills } = system.counts;
  return [
    `${Math.round((Date.now() - begun) / 1000)} s`,
    `${books.size} batches, ${open} open`,
    `${tally.lines} lines checked`,
    `${model.totals.calls} model calls`,
    `${counts.cancels} cancels, ${counts.retries} retries, ${counts.snapshots} snapshots`,
    `${starts} starts, ${stops} stops, ${kills} kills, ${workerKills} of workers${system.info ? '' : ' (down)'}`,
  ].join(' · ');
}
