import * as fc from 'fast-check';
import {
  initialBitmap,
  isBitSet,
  type SegmentRef,
  type ShardCommit,
  type ShardRange,
  type ShardRecord,
  setBit,
} from '../../shared/domain/shard.ts';
import type { ShardStore } from '../../shared/ports.ts';

/**
 * The commit protocol as a model: workers that take one shard, run its lines, put segments and commit them, each of
 * which may die, be doubled, be overtaken or not hear its answer at any point, and a finalizer that seals.
 */

const WORKERS = 3;
/** Fewer than the product's 32, so that short histories fold. */
const FOLD_AFTER = 2;

/** What one invocation holds in memory. Empty: it has not claimed, or it is dead. */
type Worker = {
  record?: ShardRecord;
  /** Lines (by index in the shard) with results in memory, not yet in a segment. */
  ran: number[];
  /** A segment that is in S3, and whose commit has not been answered. */
  pending?: ShardCommit;
};
export type Model = { workers: Worker[]; acknowledged: string[]; sealed?: ShardRecord };
/** The real store, and S3 as two maps: lines by segment key, segments by manifest key. */
export type World = {
  store: ShardStore;
  batchId: string;
  range: ShardRange;
  parts: Map<string, number[]>;
  manifests: Map<string, SegmentRef[]>;
};

export function newModel(): Model {
  return { workers: Array.from({ length: WORKERS }, () => ({ ran: [] })), acknowledged: [] };
}

export function newWorld(store: ShardStore, batchId: string, range: ShardRange): World {
  return { store, batchId, range, parts: new Map(), manifests: new Map() };
}

type Command = fc.AsyncCommand<Model, World>;

const command = (name: string, check: (model: Model) => boolean, run: Command['run']): Command => ({
  check,
  run,
  toString: () => name,
});

function workerOf(model: Model, at: number): Worker {
  const worker = model.workers[at];
  if (!worker) throw new Error(`There is no worker ${at}`);
  return worker;
}

const die = (model: Model, at: number) => {
  model.workers[at] = { ran: [] };
};

/** A new invocation takes the place of the old one, whose results are gone with it. */
const claim = (at: number) =>
  command(
    `claim(${at})`,
    () => true,
    async (model, { store, batchId, range }) => {
      const record = await store.claim(batchId, range);
      model.workers[at] = record === 'sealed' ? { ran: [] } : { record, ran: [] };
    },
  );

const openLines = ({ record, ran }: Worker, range: ShardRange): number[] =>
  Array.from({ length: range.lines }, (_, line) => line).filter(
    (line) => record && !isBitSet(record.done, line) && !ran.includes(line),
  );

const run = (at: number, pick: number) =>
  command(
    `run(${at}, ${pick})`,
    (model) => workerOf(model, at).record !== undefined,
    async (model, { range }) => {
      const worker = workerOf(model, at);
      const open = openLines(worker, range);
      const line = open[pick % Math.max(1, open.length)];
      if (line !== undefined) worker.ran.push(line);
    },
  );

const put = (at: number) =>
  command(
    `put(${at})`,
    (model) => workerOf(model, at).ran.length > 0 && !workerOf(model, at).pending,
    async (model, world) => {
      const worker = workerOf(model, at);
      const { record } = worker;
      if (!record) return;
      const lines = worker.ran.splice(0);
      // Keys are never reused: S3's content stands for what was paid for.
      const name = `${record.epoch}-${record.commits}-${world.parts.size + world.manifests.size}`;
      const segment = { key: `${name}.seg`, bytes: 1, first: Math.min(...lines) + 1, last: Math.max(...lines) + 1 };
      world.parts.set(segment.key, lines);
      const done = new Uint8Array(record.done);
      for (const line of lines) setBit(done, line);
      const fold = record.segments.length >= FOLD_AFTER;
      if (fold) world.manifests.set(`${name}.json`, [...record.segments, segment]);
      worker.pending = {
        shard: world.range.shard,
        epoch: record.epoch,
        commits: record.commits,
        segment,
        done,
        completed: lines.length,
        failed: 0,
        usage: { inputTokens: lines.length, outputTokens: 0 },
        attempts: {},
        ...(fold && { foldInto: `${name}.json` }),
      };
    },
  );

/** What a worker does on the answer to its commit. */
function hear(model: Model, { parts, manifests }: World, at: number, answer: 'committed' | 'lost'): void {
  const { record, pending, ran } = workerOf(model, at);
  if (!record || !pending) return;
  if (answer === 'lost') {
    parts.delete(pending.segment.key);
    if (pending.foldInto !== undefined) manifests.delete(pending.foldInto);
    die(model, at);
    return;
  }
  model.acknowledged.push(pending.segment.key);
  const segments = pending.foldInto === undefined ? [...record.segments, pending.segment] : [];
  model.workers[at] = {
    record: { ...record, commits: record.commits + 1, done: new Uint8Array(pending.done), segments },
    ran,
  };
}

const hasPending = (model: Model, at: number) => workerOf(model, at).pending !== undefined;

async function send(model: Model, { store, batchId }: World, at: number): Promise<'committed' | 'lost'> {
  const { pending } = workerOf(model, at);
  if (!pending) throw new Error(`Worker ${at} has nothing to commit`);
  return await store.commit(batchId, pending);
}

const commit = (at: number) =>
  command(
    `commit(${at})`,
    (model) => hasPending(model, at),
    async (model, world) => hear(model, world, at, await send(model, world, at)),
  );

/** The commit is made and not heard of: the worker will send it again, who knows what happens before. */
const commitUnheard = (at: number) =>
  command(
    `commitUnheard(${at})`,
    (model) => hasPending(model, at),
    async (model, world) => {
      await send(model, world, at);
    },
  );

const commitAndDie = (at: number) =>
  command(
    `commitAndDie(${at})`,
    (model) => hasPending(model, at),
    async (model, world) => {
      await send(model, world, at);
      die(model, at);
    },
  );

const commitAtOnce = (one: number, two: number) =>
  command(
    `commitAtOnce(${one}, ${two})`,
    (model) => one !== two && hasPending(model, one) && hasPending(model, two),
    async (model, world) => {
      const answers = await Promise.all([send(model, world, one), send(model, world, two)]);
      hear(model, world, one, answers[0]);
      hear(model, world, two, answers[1]);
    },
  );

/** A worker is overtaken while its commit is on the way. */
const claimBesideCommit = (claimer: number, committer: number) =>
  command(
    `claimBesideCommit(${claimer}, ${committer})`,
    (model) => claimer !== committer && hasPending(model, committer),
    async (model, world) => {
      const [record, answer] = await Promise.all([
        world.store.claim(world.batchId, world.range),
        send(model, world, committer),
      ]);
      model.workers[claimer] = record === 'sealed' ? { ran: [] } : { record, ran: [] };
      hear(model, world, committer, answer);
    },
  );

const crash = (at: number) =>
  command(
    `crash(${at})`,
    (model) => workerOf(model, at).record !== undefined,
    async (model) => die(model, at),
  );

const release = (at: number) =>
  command(
    `release(${at})`,
    (model) => workerOf(model, at).record !== undefined && !hasPending(model, at),
    async (model, { store, batchId, range }) => {
      const { record } = workerOf(model, at);
      if (record) await store.release(batchId, range.shard, record.epoch);
      die(model, at);
    },
  );

const sealBesideCommit = (at: number) =>
  command(
    `sealBesideCommit(${at})`,
    (model) => !model.sealed && hasPending(model, at),
    async (model, world) => {
      const [sealed, answer] = await Promise.all([
        world.store.seal(world.batchId, world.range),
        send(model, world, at),
      ]);
      model.sealed = sealed;
      hear(model, world, at, answer);
    },
  );

/** The straight road: whatever this worker would do next. It is started where no other seems to run. */
const goOn = (at: number, pick: number) =>
  command(
    `goOn(${at}, ${pick})`,
    (model) => workerOf(model, at).record !== undefined || model.workers.every((worker) => !worker.record),
    async (model, world) => {
      const { record, ran, pending } = workerOf(model, at);
      const open = openLines(workerOf(model, at), world.range);
      if (!record) await claim(at).run(model, world);
      else if (pending) await commit(at).run(model, world);
      else if (ran.length > pick % 3 || (ran.length > 0 && open.length === 0)) await put(at).run(model, world);
      else if (open.length > 0) await run(at, pick).run(model, world);
    },
  );

const who = fc.nat(WORKERS - 1);
const pick = fc.nat(20);
const pair = fc.tuple(who, who);

/**
 * Histories of the shard: mostly workers that go on, so that they get somewhere (an even choice of commands commits
 * next to nothing), and all that can come between. A command that does not fit is passed over.
 */
export const histories = fc.array(
  fc.oneof(
    { weight: 40, arbitrary: fc.tuple(who, pick).map(([at, line]) => goOn(at, line)) },
    { weight: 2, arbitrary: who.map(claim) },
    { weight: 2, arbitrary: who.map(put) },
    { weight: 3, arbitrary: who.map(commitUnheard) },
    { weight: 1, arbitrary: who.map(commitAndDie) },
    { weight: 3, arbitrary: pair.map(([one, two]) => commitAtOnce(one, two)) },
    { weight: 3, arbitrary: pair.map(([claimer, committer]) => claimBesideCommit(claimer, committer)) },
    { weight: 1, arbitrary: who.map(crash) },
    { weight: 1, arbitrary: who.map(release) },
    { weight: 1, arbitrary: who.map(sealBesideCommit) },
  ),
  { minLength: 1, maxLength: 80, size: 'max' },
);

/** Ends a history: seals, lets every zombie try once more, and says what the protocol did not keep. */
export async function brokenPromises(model: Model, world: World): Promise<string[]> {
  const { store, batchId, range, parts, manifests } = world;
  const sealed = model.sealed ?? (await store.seal(batchId, range));
  for (const [at, worker] of model.workers.entries())
    if (worker.pending) hear(model, world, at, await send(model, world, at));
  const standing = await store.seal(batchId, range);

  const broken: string[] = [];
  if (!sameRecord(sealed, standing)) broken.push('the record changed after the seal');
  const lost = standing.manifests.filter((key) => !manifests.has(key));
  if (lost.length > 0) broken.push(`manifests that count were dropped: ${lost}`);
  const segments = [...standing.manifests.flatMap((key) => manifests.get(key) ?? []), ...standing.segments];
  const committed = segments.map((segment) => segment.key);
  for (const key of model.acknowledged)
    if (!committed.includes(key)) broken.push(`${key} was acknowledged and is lost`);
  for (const key of committed) if (!parts.has(key)) broken.push(`${key} counts and was dropped`);
  const lines = committed.flatMap((key) => parts.get(key) ?? []);
  if (new Set(lines).size !== lines.length) broken.push(`a line is in two segments: ${lines}`);
  const expected = initialBitmap(range);
  for (const line of lines) setBit(expected, line);
  if (!Buffer.from(expected).equals(standing.done)) broken.push('the bitmap is not that of the segments');
  if (standing.completed !== lines.length) broken.push(`${standing.completed} lines are counted of ${lines.length}`);
  if (standing.commits !== committed.length) broken.push(`${standing.commits} commits, ${committed.length} segments`);
  return broken;
}

const sameRecord = (one: ShardRecord, two: ShardRecord) =>
  JSON.stringify({ ...one, done: [...one.done] }) === JSON.stringify({ ...two, done: [...two.done] });
