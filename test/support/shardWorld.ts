import { ulid } from 'ulid';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createCallShareStore } from '../../shared/adapters/dynamodb/callShareStore.ts';
import { createCircuitStore } from '../../shared/adapters/dynamodb/circuitStore.ts';
import { createControlStore } from '../../shared/adapters/dynamodb/controlStore.ts';
import { createShardStore } from '../../shared/adapters/dynamodb/shardStore.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { systemClock } from '../../shared/adapters/system/clock.ts';
import { type Settings, SettingsSchema } from '../../shared/contract/settings.ts';
import type { StepInput } from '../../shared/contract/steps.ts';
import type { BatchRef } from '../../shared/domain/batch.ts';
import { decodeSegmentLine } from '../../shared/domain/lines/segment.ts';
import { type ModelsFile, ModelsFileSchema } from '../../shared/domain/models.ts';
import type { SegmentRef, ShardRange, ShardRecord } from '../../shared/domain/shard.ts';
import type {
  CircuitStore,
  Clock,
  FileStore,
  ModelCall,
  ModelProvider,
  ModelProviders,
  Ports,
} from '../../shared/ports.ts';
import { createModelProviders } from '../../shared/providers/modelProviders.ts';
import type { TurnDeps } from '../../shared/usecases/runShard/shardTurn.ts';
import { startDynalite } from './dynalite.ts';
import { startLocalS3 } from './localS3.ts';
import { recordedLog } from './recordedLog.ts';
import { aBatch, aPlan } from './records.ts';

/** What Plan and RunShard work in: a real table, a real bucket, and batches that are under way in them. */
export async function startShardWorld() {
  const [table, s3] = await Promise.all([startDynalite(), startLocalS3()]);
  const stores = {
    batches: createBatchStore(table),
    controls: createControlStore(table),
    callShares: createCallShareStore(table),
    shards: createShardStore(table),
    /** Of workers that know of each other's outages. */
    circuits: (scope = ulid()) => scopedCircuits(createCircuitStore(table), scope),
    files: createFileStore({ client: s3.client, bucket: s3.bucket }),
  };
  return { ...stores, close: () => Promise.all([table.close(), s3.close()]) };
}

/** Models of the same name in other tests are other models. */
function scopedCircuits(circuits: CircuitStore, scope: string): CircuitStore {
  const own = (model: string) => `${scope} ${model}`;
  return {
    get: (model) => circuits.get(own(model)),
    open: (model, ...rest) => circuits.open(own(model), ...rest),
    takeProbe: (model, ...rest) => circuits.takeProbe(own(model), ...rest),
    dropProbe: (model, ...rest) => circuits.dropProbe(own(model), ...rest),
    close: (model, ...rest) => circuits.close(own(model), ...rest),
  };
}

export type ShardWorld = Awaited<ReturnType<typeof startShardWorld>>;

export type RunningBatch = { ref: BatchRef; ranges: ShardRange[]; step(shard?: number): StepInput<'runShard'> };

/** A batch in progress whose input is these lines, cut into shards of `linesAShard`. */
export async function aRunningBatch(
  world: ShardWorld,
  lines: string[],
  options: { linesAShard?: number; deadline?: number; type?: 'COMPLETIONS' | 'EMBEDDINGS'; models?: string[] } = {},
): Promise<RunningBatch> {
  const { linesAShard = lines.length, deadline = Date.now() + 86_400_000, type = 'COMPLETIONS' } = options;
  const batch = aBatch({ expiresAt: deadline, type, createdAt: Date.now() });
  const ref = { projectId: batch.head.projectId, batchId: batch.head.batchId };
  await world.batches.create(batch);
  const text = lines.join('\n');
  const key = `inputs/${ref.batchId}`;
  const { etag } = await world.files.put(key, text);
  await world.batches.setInput(ref, 1, { key, etag, bytes: Buffer.byteLength(text) });

  const ranges: ShardRange[] = [];
  let start = 0;
  for (let first = 0; first < lines.length; first += linesAShard) {
    const own = lines.slice(first, first + linesAShard);
    const end = start + Buffer.byteLength(own.join('\n'));
    const range = { shard: ranges.length, start, end, firstLine: first + 1, lines: own.length, runnable: own.length };
    ranges.push(range);
    start = end + 1;
  }
  const plan = aPlan({
    key: `shards/${ref.batchId}/1-plan.jsonl`,
    shards: ranges.length,
    lines: lines.length,
    runnable: lines.length,
    ...(options.models ? { models: options.models } : {}),
  });
  await world.files.put(plan.key, ranges.map((range) => `${JSON.stringify(range)}\n`).join(''));
  await world.batches.move(ref, 'in_progress', { now: Date.now(), attempt: 1, change: { plan } });
  return {
    ref,
    ranges,
    step(shard = 0) {
      const range = ranges[shard];
      if (!range) throw new Error(`no shard ${shard}`);
      return { version: 1, ...ref, attempt: 1, shard: range, turn: 0 };
    },
  };
}

export const chatLine = (prompt: string, options: { id?: string; model?: string } = {}): string =>
  JSON.stringify({
    custom_id: options.id ?? prompt,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: options.model ?? 'default', messages: [{ role: 'user', content: prompt }] },
  });

export const chatLines = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => chatLine(`request-${index + 1}`));

/** Two models, `default` and `other`, of one provider. */
export function testModels(provider: Record<string, unknown>): ModelsFile {
  const model = (name: string) => ({ provider: 'p', model: name, endpoints: ['chat/completions', 'embeddings'] });
  return ModelsFileSchema.parse({
    providers: { p: provider },
    models: { default: model('model-1'), other: model('model-2') },
    vectors: { model: 'default' },
  });
}

export function testSettings(worker: Partial<Settings['worker']> = {}): Settings {
  return SettingsSchema.parse({
    worker: { retryBaseMs: 1, retryMaxMs: 4, commitGapMs: 0, ...worker },
    shards: { maxWorkers: 3 },
  });
}

export type Harness = TurnDeps & { log: ReturnType<typeof recordedLog> };

export function workerDeps(
  world: ShardWorld,
  options: {
    worker?: Partial<Settings['worker']>;
    provider?: ModelProvider;
    baseUrl?: string;
    simulator?: Record<string, unknown>;
    clock?: Clock;
    /** By default it knows of nobody's outages but its own. */
    circuits?: CircuitStore;
  } = {},
): Harness {
  const models = testModels(
    options.baseUrl
      ? { kind: 'openai', base_url: options.baseUrl, api_key: false }
      : { kind: 'simulator', ...options.simulator },
  );
  const { provider } = options;
  const providers: ModelProviders = provider
    ? { get: () => provider }
    : createModelProviders({ models, keys: { get: async () => undefined }, maxSockets: 64 });
  return {
    batches: world.batches,
    controls: world.controls,
    shards: world.shards,
    files: world.files,
    circuits: options.circuits ?? world.circuits(),
    callShares: world.callShares,
    paces: new Map(),
    clock: options.clock ?? systemClock,
    ids: { ulid, secretBytes: (count) => new Uint8Array(count) },
    random: { next: Math.random },
    log: recordedLog(),
    providers,
    models,
    settings: testSettings(options.worker),
  };
}

/** Time enough. */
export const LONG = { remainingMs: () => 900_000 };

export type Result = { line: number; file: 'o' | 'e'; json: Record<string, unknown> & { custom_id: string } };

/** Every result that the shards' records count, in line order, and the parts they lie in. */
export async function committedResults(world: ShardWorld, ref: BatchRef) {
  const records: ShardRecord[] = [];
  for await (const record of world.shards.list(ref.batchId)) records.push(record);
  const segments: SegmentRef[] = [];
  const manifests: string[] = [];
  for (const record of records) {
    for (const key of record.manifests) {
      manifests.push(key);
      segments.push(...(JSON.parse((await readText(world.files, key)) ?? '[]') as SegmentRef[]));
    }
    segments.push(...record.segments);
  }
  const results: Result[] = [];
  for (const segment of segments) {
    const text = await readText(world.files, segment.key);
    if (text === undefined) throw new Error(`part ${segment.key} is gone`);
    for (const line of text.split('\n').filter(Boolean)) {
      const { json, ...head } = decodeSegmentLine(Buffer.from(line));
      results.push({ ...head, json: JSON.parse(Buffer.from(json).toString()) as Result['json'] });
    }
  }
  return { records, segments, manifests, results: results.sort((a, b) => a.line - b.line) };
}

async function readText(files: FileStore, key: string): Promise<string | undefined> {
  const bytes = await files.readSmall(key, 64 * 1024 * 1024);
  return bytes && Buffer.from(bytes).toString();
}

/** A model that a test answers by hand: each call waits for `answer`, or for its signal. */
export function handModel() {
  type Open = {
    call: ModelCall;
    prompt: string;
    answer: (text: string) => void;
    fail: (status: number, message?: string) => void;
    drop: () => void;
  };
  const open: Open[] = [];
  const arrivals: (() => void)[] = [];
  let calledOff = 0;
  const provider: ModelProvider = {
    call: (call) =>
      new Promise((resolve, reject) => {
        let answered = false;
        const respond = (status: number, value: unknown) => {
          answered = true;
          resolve({ kind: 'answered', status, body: Buffer.from(JSON.stringify(value)) });
        };
        const messages = call.body.messages as { content: string }[];
        const one = {
          call,
          prompt: messages[0]?.content ?? '',
          answer: (text: string) => respond(200, { choices: [{ message: { content: text } }] }),
          fail: (status: number, message = 'by hand') => respond(status, { error: { message } }),
          drop: () => {
            answered = true;
            resolve({ kind: 'network', reason: 'dropped by hand' });
          },
        };
        call.signal?.addEventListener('abort', () => {
          if (!answered) calledOff++;
          reject(call.signal?.reason);
        });
        open.push(one);
        for (const arrived of arrivals.splice(0)) arrived();
      }),
  };
  return {
    provider,
    open,
    get calledOff() {
      return calledOff;
    },
    /** Resolves when so many calls have come in all. */
    async arrived(count: number): Promise<void> {
      while (open.length < count) await new Promise<void>((resolve) => arrivals.push(resolve));
    },
  };
}

/** Time stands still until the test moves it. */
export function handClock(start = Date.now()) {
  let now = start;
  const sleepers = new Set<{ at: number; wake: () => void }>();
  const clock: Clock = {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const sleeper = { at: now + ms, wake: resolve };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper);
          reject(signal.reason);
        });
      }),
  };
  return {
    clock,
    advance(ms: number): void {
      now += ms;
      for (const sleeper of sleepers) {
        if (sleeper.at > now) continue;
        sleepers.delete(sleeper);
        sleeper.wake();
      }
    },
  };
}

/** The system's time, but nobody sleeps for long: for retries whose pauses do not matter. */
export const restless: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 1), signal),
};

/** A store that fails as the test says; what it does not name works as before. */
export function withFaults<T extends Ports['shards'] | Ports['files'] | Ports['batches']>(
  port: T,
  faults: Partial<T>,
): T {
  return Object.assign(Object.create(port), faults);
}
