import type { BatchHead, BatchRef } from '../../shared/domain/batch.ts';
import { type BatchStatus, isEnded } from '../../shared/domain/batchStatus.ts';
import type { Control } from '../../shared/domain/control.ts';
import { notificationBody, notificationId } from '../../shared/domain/notifications/event.ts';
import { signatureHeaders } from '../../shared/domain/notifications/signature.ts';
import type { ShardCommit, ShardRange } from '../../shared/domain/shard.ts';
import type { Clock, FileUpload, MoveChange, ShareAsk } from '../../shared/ports.ts';
import type { Interceptor, PortCall, Process, Simulation } from '../simulation/simulation.ts';
import type { BatchSpec } from '../soak/batchSpec.ts';
import { drawLines, type FateWeights } from '../soak/lines.ts';
import { seededRandom } from '../support/random.ts';
import type { RunSpec } from './runSpec.ts';
import type { Fault } from './weather.ts';

/** What a bug may reach for: the ports beyond those that it is called for. */
export type World = Pick<Simulation, 'stores' | 'time'> & {
  receive(url: string, headers: Record<string, string>, body: string): Promise<unknown>;
};

/**
 * A fault of ours, as a careless change would make it: done to the calls of ports, so that no product code knows of it.
 * `stands` is made anew for each run.
 */
export type PlantedBug = {
  name: string;
  plant(world: World): Interceptor;
  /** Faults that show it soon, instead of those that are drawn. */
  weather: Partial<Record<Fault, number>>;
  change?(spec: RunSpec): RunSpec;
  /** A run of seed 1 that shows it. */
  shownBy: number;
  /** What the checker says when it meets it. */
  caughtBy: RegExp;
};

const isCall = ({ process, port, method }: PortCall, functionName: string, of: string) =>
  process.functionName === functionName && `${port}.${method}` === of;

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'commit without the epoch',
    plant: ({ stores }) => {
      return async (call, proceed) => {
        if (!isCall(call, 'workflow/runShard', 'shards.commit')) return proceed();
        const [batchId, commit] = call.args as [string, ShardCommit];
        const standing = await stores.shards.get(batchId, commit.shard);
        // Whatever stands there is taken for one's own.
        if (standing) call.args[1] = { ...commit, epoch: standing.epoch, commits: standing.commits };
        return proceed();
      };
    },
    weather: { invoked_twice: 0.7 },
    change: (spec) => justOne(spec, { count: 500 }),
    shownBy: 5,
    caughtBy: /model calls were repeated|is processing_failed: The result of this line was lost/,
  },
  {
    name: 'segment after the record',
    plant: () => {
      const held = new Map<Process, () => unknown>();
      return async (call, proceed) => {
        if (isCall(call, 'workflow/runShard', 'files.put')) {
          held.set(call.process, proceed);
          return { etag: '"not yet"' };
        }
        if (!isCall(call, 'workflow/runShard', 'shards.commit')) return proceed();
        const answer = await proceed();
        const put = held.get(call.process);
        held.delete(call.process);
        if (answer === 'committed') await put?.();
        return answer;
      };
    },
    weather: { killed_after: 0.02 },
    change: (spec) => justOne(spec, { count: 100 }),
    shownBy: 1,
    caughtBy: /is processing_failed: The result of this line was lost/,
  },
  {
    name: 'errors file written twice',
    plant: ({ stores }) => {
      return async (call, proceed) => {
        const answer = await proceed();
        if (!isCall(call, 'workflow/finalizeBatch', 'files.upload')) return answer;
        const key = String(call.args[0]);
        const upload = answer as FileUpload;
        if (!key.includes('-errors')) return answer;
        const complete = async () => {
          const completed = await upload.complete();
          const body = await stores.files.readSmall(key, Number.POSITIVE_INFINITY);
          if (body) await stores.files.put(key, Buffer.concat([body, body]));
          return completed;
        };
        return {
          write: (chunk: Uint8Array) => upload.write(chunk),
          suspend: () => upload.suspend(),
          abort: () => upload.abort(),
          complete,
        };
      };
    },
    weather: {},
    shownBy: 1,
    caughtBy: /has two results, the second in errors/,
  },
  {
    name: 'finalize without the seal',
    plant: ({ stores, time }) => {
      const looks = new Map<number, number>();
      /** Finalize looks at each shard twice: to decide why the batch ends, and to copy. */
      const wasCopied = async (shard: number) => {
        for (let waits = 0; waits < 600 && (looks.get(shard) ?? 0) < 2; waits++) await time.clock.sleep(1_000);
      };
      return async (call, proceed) => {
        if (isCall(call, 'workflow/runShard', 'shards.commit')) {
          const [batchId, { shard }] = call.args as [string, ShardCommit];
          // From the cancel on the worker stands still, until its shard has been copied.
          if ((await stores.controls.get(batchId))?.action === 'stop') await wasCopied(shard);
          return proceed();
        }
        if (!isCall(call, 'workflow/finalizeBatch', 'shards.seal')) return proceed();
        const [batchId, range] = call.args as [string, ShardRange];
        const standing = await stores.shards.get(batchId, range.shard);
        looks.set(range.shard, (looks.get(range.shard) ?? 0) + 1);
        // A large batch: it takes a while from there to its end.
        await time.clock.sleep(MINUTE_MS);
        return standing ?? proceed();
      };
    },
    weather: { slow: 0.3 },
    change: (spec) => ({
      ...justOne(spec, { count: 200, fates: { slow: 1 }, cancel: 'in_progress', takesSnapshots: true }),
      limits: { calls_in_flight: 8 },
      timeoutSeconds: { ...spec.timeoutSeconds, 'workflow/runShard': 900, 'workflow/finalizeBatch': 900 },
    }),
    shownBy: 1,
    caughtBy: /lacks a line that was shown before/,
  },
  {
    name: 'notify before the status',
    plant: ({ stores, time, receive }) => {
      return async (call, proceed) => {
        const [ref, to, options] = call.args as [BatchRef, BatchStatus, { change?: MoveChange }];
        if (!isCall(call, 'workflow/finalizeBatch', 'batches.move') || !isEnded(to)) return proceed();
        const head = await stores.batches.get(ref);
        if (head) await tell({ stores, receive }, { ...head, ...options.change, status: to }, time.now);
        return proceed();
      };
    },
    weather: {},
    shownBy: 1,
    caughtBy: /A receiver was told of its end, and it is (validating|finalizing|cancelling)/,
  },
  {
    name: 'counts from the rollup',
    plant: ({ stores }) => {
      return async (call, proceed) => {
        const [ref, to, options] = call.args as [BatchRef, BatchStatus, { change?: MoveChange }];
        if (!isCall(call, 'workflow/finalizeBatch', 'batches.move') || !isEnded(to)) return proceed();
        const head = await stores.batches.get(ref);
        if (head) call.args[2] = { ...options, change: { ...options.change, requestCounts: head.requestCounts } };
        return proceed();
      };
    },
    weather: { killed_after: 0.01, table_answer_lost: 0.1 },
    shownBy: 4,
    caughtBy: /Its counts of completed and failed lines|A notification/,
  },
  {
    name: 'retry that forgets the deadline',
    plant: () => {
      const looked = new WeakSet<Process>();
      return async (call, proceed) => {
        const answer = await proceed();
        if (!isCall(call, 'workflow/runShard', 'controls.get')) return answer;
        // The first look is right; from then on there is time.
        if (!looked.has(call.process)) {
          looked.add(call.process);
          return answer;
        }
        const control = answer as Control | undefined;
        return control && { ...control, deadline: control.deadline + DAY_MS };
      };
    },
    weather: { model_5xx: 0.2, model_429: 0.1 },
    change: (spec) => ({
      ...spec,
      projects: spec.projects.map((project) => ({
        ...project,
        batches: project.batches.map((batch) => ({ ...batch, completionWindow: '1m', cancel: undefined })),
      })),
    }),
    shownBy: 2,
    caughtBy: /A model was called \d+ ms after its deadline/,
  },
  {
    name: 'leases not returned',
    plant: ({ stores }) => {
      const holders = new Map<string, ShareAsk['holder']>();
      return async (call, proceed) => {
        const [ask, clock] = call.args as [ShareAsk & { costMs: number }, Clock];
        if (!isCall(call, 'workflow/runShard', 'callShares.take')) return proceed();
        // Whoever had a part keeps it: batches that have ended, workers that have died.
        for (const holder of holders.values()) await stores.callShares.take({ ...ask, holder, costMs: 0 }, clock);
        holders.set(ask.holder.batchId, ask.holder);
        return proceed();
      };
    },
    weather: {},
    change: (spec) => {
      const one = justOne(spec, { count: 300, fates: { answered: 1 }, commitLines: 50 });
      const few = justOne(spec, { count: 8, fates: { answered: 1 } });
      const projects = [...Array.from({ length: 6 }, () => few.projects), one.projects].flat();
      const shards = { maxLines: 500, minLines: 500, maxWorkers: 1 };
      return { ...one, projects, inTurn: true, limits: { calls_in_flight: 8 }, settings: { ...one.settings, shards } };
    },
    shownBy: 1,
    caughtBy: /Alone at its model it took/,
  },
];

/** One plain batch, in shards of a hundred lines with many commits. */
function justOne(
  spec: RunSpec,
  {
    count,
    fates = { answered: 3, slow: 1 },
    commitLines = 3,
    ...rest
  }: { count: number; fates?: FateWeights; commitLines?: number } & Partial<BatchSpec>,
): RunSpec {
  const [batch] = spec.projects.flatMap((project) => project.batches);
  if (!batch) throw new Error('A run has at least one batch');
  const plan = { name: 'b1', type: 'COMPLETIONS', count, fates, bad: 0, blank: 0 } as const;
  const { lines, content } = drawLines(seededRandom(count), plan);
  return {
    ...spec,
    weather: { ...spec.weather, faultsForMs: Math.min(1, spec.weather.faultsForMs) * 20 * MINUTE_MS },
    settings: {
      ...spec.settings,
      snapshots: { refreshSeconds: 5 },
      shards: { maxLines: 100, minLines: 100, maxWorkers: 4 },
      worker: { ...spec.settings.worker, commitLines },
    },
    projects: [
      {
        rotatesSecret: false,
        batches: [
          {
            ...batch,
            ...{ name: 'b1', type: 'COMPLETIONS', kind: 'medium', lines, content: Buffer.from(content) },
            ...{ input: 'upload', mood: 'well', completionWindow: '24h', cancel: undefined, retries: [] },
            ...rest,
          },
        ],
      },
    ],
  };
}

async function tell({ stores, receive }: Pick<World, 'stores' | 'receive'>, head: BatchHead, now: number) {
  const secret = await stores.webhookSecrets.get(head.projectId);
  if (!secret) return;
  const body = notificationBody(head);
  const message = { id: notificationId(head.batchId), timestampSeconds: Math.floor(now / 1000), body };
  await receive(head.callbackUrl, signatureHeaders(message, [secret.secret]), body);
}
