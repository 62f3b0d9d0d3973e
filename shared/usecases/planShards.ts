import * as z from 'zod';
import type { Settings } from '../contract/settings.ts';
import type { StepInput, StepOutput } from '../contract/steps.ts';
import type { BatchHead, BatchRef, Plan, Usage } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import type { ModelsFile } from '../domain/models.ts';
import { objectKeys } from '../domain/objectKeys.ts';
import { decideOutcome } from '../domain/outcome.ts';
import { workersOfBatch } from '../domain/retry/workersOfBatch.ts';
import { FileChanged, FileMissing, type FileStore, type Invocation, type Ports } from '../ports.ts';
import { readPlan } from './readPlan.ts';

/** Rounds in a row in which workers got nowhere, before the step fails: then the map itself does not work. */
const MAX_IDLE_ROUNDS = 3;
/** Three numbers as JSON. */
const MAX_PROGRESS_BYTES = 1024;
/** Up to here one put is enough; beyond it the list goes up in parts. */
const MAX_PUT_BYTES = 5 * 1024 * 1024;

/** The map run ended round after round without finishing a line. */
export class NoProgress extends Error {
  override readonly name = 'NoProgress';
}

/**
 * Decides what the map runs next: the shards that are not done. Sets the batch's live counts exactly, from the shards'
 * records. Nothing left, stopped or too late: on to Finalize.
 */
export async function planShards(
  deps: Pick<Ports, 'batches' | 'controls' | 'shards' | 'files' | 'clock' | 'log'> & {
    settings: Settings;
    models: ModelsFile;
  },
  input: StepInput<'planShards'>,
  _invocation?: Invocation,
): Promise<StepOutput<'planShards'>> {
  const { version, projectId, batchId, attempt } = input;
  const ref = { projectId, batchId };
  const round = input.round + 1;
  const run = { version, projectId, batchId, attempt, round };

  const [head, control] = await Promise.all([deps.batches.get(ref), deps.controls.get(batchId)]);
  if (!head) throw new Error(`There is no batch ${batchId}`);
  if (head.attempt !== attempt || isEnded(head.status)) return { ...run, next: 'end' };
  const { plan } = head;
  if (!plan) {
    if (head.outcome || head.status === 'cancelling') return { ...run, next: 'finalize' };
    throw new Error(`Batch ${batchId} has no plan`);
  }

  const [found] = await Promise.all([readRecords(deps, batchId, plan), requireInput(deps, head)]);
  const kept = plan.kept ?? 0;
  const counts = {
    total: plan.lines + kept,
    completed: found.completed + kept,
    failed: found.failed + invalidLines(plan),
  };
  const [left] = await Promise.all([
    writeMapInput(deps.files, plan, found.finished, objectKeys.mapInput(ref, attempt, round)),
    deps.batches.setCounts(ref, counts, usageOf(head, found.usage), deps.clock.now()),
  ]);
  const outcome = decideOutcome({
    status: head.status,
    standing: head.outcome,
    control,
    allDone: left === 0,
    deadline: control?.deadline ?? head.expiresAt,
    now: deps.clock.now(),
  });
  if (outcome) return { ...run, next: 'finalize' };

  await watchProgress(deps, ref, attempt, input.round, found.completed + found.failed + found.idleTurns);
  deps.log.info('shards planned', { batchId, round, left, of: plan.shards });
  return {
    ...run,
    next: 'process',
    key: objectKeys.mapInput(ref, attempt, round),
    maxConcurrency: Math.min(
      left,
      workersOfBatch(plan, deps.models, { ...deps.settings.shards, ...deps.settings.worker }),
    ),
  };
}

/** Without it every worker would fail, round after round: the batch ends with what it has (`failBatch.ts`). */
async function requireInput({ files }: Pick<Ports, 'files'>, { batchId, input, plan }: BatchHead): Promise<void> {
  if (!input || !plan?.runnable) return;
  const info = await files.info(input.key);
  if (!info) throw new FileMissing(`The input of ${batchId} is gone`);
  if (info.etag !== input.etag) throw new FileChanged(`The input of ${batchId} has changed`);
}

type Found = {
  completed: number;
  failed: number;
  usage: Usage;
  idleTurns: number;
  /** Lines finished or not to be run, by shard. */
  finished: Map<number, number>;
};

async function readRecords(deps: Pick<Ports, 'shards'>, batchId: string, plan: Plan): Promise<Found> {
  const found: Found = {
    completed: 0,
    failed: 0,
    usage: { inputTokens: 0, outputTokens: 0 },
    idleTurns: 0,
    finished: new Map(),
  };
  for await (const record of deps.shards.list(batchId, plan.shards)) {
    found.completed += record.completed;
    found.failed += record.failed;
    found.usage.inputTokens += record.usage.inputTokens;
    found.usage.outputTokens += record.usage.outputTokens;
    found.idleTurns += record.idleTurns;
    found.finished.set(record.shard, countBits(record.done));
  }
  return found;
}

function countBits(bitmap: Uint8Array): number {
  let count = 0;
  for (const byte of bitmap) for (let bits = byte; bits !== 0; bits &= bits - 1) count++;
  return count;
}

const invalidLines = (plan: Plan) => plan.invalid?.lines ?? plan.lines - plan.runnable;

/** Absent until a model reported tokens. */
function usageOf(head: BatchHead, usage: Usage): Usage | undefined {
  return usage.inputTokens + usage.outputTokens > 0 ? usage : head.usage;
}

/** Streams the plan into what the map reads, without the shards whose lines are all finished. Answers how many are left. */
async function writeMapInput(
  files: FileStore,
  plan: Plan,
  finished: ReadonlyMap<number, number>,
  key: string,
): Promise<number> {
  if (plan.shards === 0) return 0;
  let left = 0;
  let held: string[] = [];
  let heldBytes = 0;
  let upload: Awaited<ReturnType<FileStore['upload']>> | undefined;
  try {
    for await (const range of readPlan({ files }, plan)) {
      if (finished.get(range.shard) === range.lines) continue;
      left++;
      const text = `${JSON.stringify(range)}\n`;
      held.push(text);
      heldBytes += text.length;
      if (heldBytes < MAX_PUT_BYTES) continue;
      upload ??= await files.upload(key, { contentType: 'application/jsonl' });
      await upload.write(Buffer.from(held.join('')));
      held = [];
      heldBytes = 0;
    }
    if (left === 0) return 0;
    if (!upload) await files.put(key, held.join(''), 'application/jsonl');
    else {
      await upload.write(Buffer.from(held.join('')));
      await upload.complete();
    }
    return left;
  } catch (error) {
    await upload?.abort();
    throw error;
  }
}

const ProgressSchema = z.object({ round: z.int(), finished: z.int().nonnegative(), idleRounds: z.int().nonnegative() });

/**
 * A round is idle when it finished no line and no worker ended a turn in order. A few may be bad luck (workers that could
 * not start); more of them would go round until the window ends. A model that refuses all the time is not idle: its
 * workers wait as they should, for as long as the window lasts.
 */
async function watchProgress(
  deps: Pick<Ports, 'files'>,
  ref: BatchRef,
  attempt: number,
  roundsSoFar: number,
  finished: number,
): Promise<void> {
  const key = objectKeys.planProgress(ref, attempt);
  // The first round of an attempt has nothing to look back to (and S3 answers 403 for a key that is not there).
  const text = roundsSoFar === 0 ? undefined : await deps.files.readSmall(key, MAX_PROGRESS_BYTES);
  const before = text ? ProgressSchema.parse(JSON.parse(Buffer.from(text).toString('utf8'))) : undefined;
  const idleRounds = before?.round === roundsSoFar && finished <= before.finished ? before.idleRounds + 1 : 0;
  if (idleRounds >= MAX_IDLE_ROUNDS)
    throw new NoProgress(`${MAX_IDLE_ROUNDS} rounds over the shards of ${ref.batchId} finished no line`);
  await deps.files.put(key, JSON.stringify({ round: roundsSoFar + 1, finished, idleRounds }), 'application/json');
}
