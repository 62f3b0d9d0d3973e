import type { Settings } from '../../contract/settings.ts';
import type { BatchHead, Outcome, Plan, Usage } from '../../domain/batch.ts';
import { cancelledAt, decideOutcome } from '../../domain/outcome.ts';
import { isShardDone, type ShardRange, type ShardRecord } from '../../domain/shard.ts';
import type { Ports } from '../../ports.ts';
import { readPlan } from '../readPlan.ts';
import type { Gathering } from './checkpoint.ts';
import { unknownRange } from './mergeByInput.ts';

type Deps = Pick<Ports, 'batches' | 'shards' | 'controls' | 'files' | 'clock' | 'log'> & { settings: Settings };

/** Seals at a time: each is one write of a small record. */
const SEALS_AT_ONCE = 16;

/** There are lines left and no reason not to run them: Plan should not have come here. */
export class FinalizedTooEarly extends Error {
  override readonly name = 'FinalizedTooEarly';
}

/**
 * Seals what is unfinished, decides why the batch ends, and writes that down. Sealed first: afterwards nothing can be
 * committed behind the decision's back. Nothing is sealed without a reason, which would leave lines that no worker may
 * run; the reasons (a stop, the deadline) do not go away, so that a run that dies in between decides the same again.
 */
export async function startGathering(deps: Deps, head: BatchHead, attempt: number): Promise<Gathering | 'superseded'> {
  const { batches, controls, clock } = deps;
  const number = await batches.takeGathering(head, attempt);
  if (number === 'superseded') return 'superseded';
  const [{ planGone, invalidGone }, control] = await Promise.all([whatIsGone(deps, head), controls.get(head.batchId)]);
  const before = planGone ? await surveyRecords(deps, head) : await survey(deps, head);
  const facts = { status: head.status, standing: head.outcome, control, deadline: head.expiresAt };
  if (!decideOutcome({ ...facts, allDone: before.allDone, now: clock.now() })) {
    throw new FinalizedTooEarly(`Batch ${head.batchId} has lines left to run and no reason to end`);
  }
  const { allDone, usage } = before.allDone
    ? before
    : await (planGone ? sealRecords(deps, head) : seal(deps, head, before));
  const decided = decideOutcome({ ...facts, allDone, now: clock.now() });
  if (!decided) throw new FinalizedTooEarly(`Batch ${head.batchId} has lost its reason to end`);

  const keptGone = await areKeptGone(deps, head);
  const found = { number, keptGone, planGone, invalidGone };
  const outcome = await fixOutcome(deps, head, attempt, decided, keptGone);
  if (outcome === 'superseded') return 'superseded';
  const to = outcome.kind === 'cancelled' ? 'cancelling' : 'finalizing';
  const onItsWay = head.status === 'finalizing' || head.status === 'cancelling';
  // A batch that ends while validating goes from there straight to its end (the table has no other way).
  if (to === 'cancelling' ? head.status !== 'cancelling' : !onItsWay && head.status !== 'validating') {
    const moved = await batches.move(head, to, { now: clock.now(), attempt });
    if (moved.result === 'not_found' || moved.head.attempt !== attempt) return 'superseded';
    if (moved.result === 'refused') {
      if (moved.head.status !== 'cancelling') return 'superseded';
      // A cancel came in between; nothing has been written yet that says otherwise.
      const cancelled = await batches.fixOutcome(head, cancelledAt(clock.now()), { attempt });
      return cancelled === 'superseded' ? cancelled : { ...found, outcome: cancelled, usage };
    }
  }
  return { ...found, outcome, usage };
}

/** Without them no merge by the plan: the input is read again (`mergeByInput.ts`). */
async function whatIsGone({ files, log }: Deps, { plan, batchId }: BatchHead) {
  const isGone = async (key: string | undefined) => key !== undefined && (await files.info(key)) === undefined;
  const planGone = await isGone(plan && plan.shards > 0 ? plan.key : undefined);
  const invalidGone = await isGone(plan?.invalid?.key);
  if (planGone || invalidGone)
    log.error('A committed part is missing: the batch is gathered by its input', { batchId, planGone, invalidGone });
  return { planGone, invalidGone };
}

/** Whether what a retry is to take over has been deleted since the retry was made. */
export async function areKeptGone({ files }: Pick<Deps, 'files'>, { plan, retry }: BatchHead): Promise<boolean> {
  if (!plan?.kept || !retry?.output) return false;
  const found = await Promise.all([files.info(retry.lines.key), files.info(retry.output.key)]);
  return found.includes(undefined);
}

/** Without the results that it was to keep a batch has failed, also where they were still there at an earlier attempt. */
async function fixOutcome(
  { batches, clock }: Deps,
  head: BatchHead,
  attempt: number,
  decided: Outcome,
  keptGone: boolean,
): Promise<Outcome | 'superseded'> {
  if (!keptGone || decided.kind === 'cancelled') return batches.fixOutcome(head, decided, { attempt });
  const message = `The results of ${head.retryOf}, which this batch was to hold as well, have been deleted.`;
  const failed: Outcome = { kind: 'failed', reason: 'processing_failed', message, fixedAt: clock.now() };
  const standing = await batches.fixOutcome(head, failed, { attempt });
  if (standing === 'superseded') return standing;
  return standing.kind === 'cancelled' || standing.kind === 'failed' ? standing : failed;
}

type Survey = { allDone: boolean; usage: Usage; unfinished: Set<number> };

/** What the shard records say, read once in no order: only numbers are kept. */
async function survey(deps: Pick<Deps, 'files' | 'shards'>, head: BatchHead): Promise<Survey> {
  const usage: Usage = { inputTokens: 0, outputTokens: 0 };
  if (!head.plan) return { allDone: false, usage, unfinished: new Set() };
  const linesOf = new Map<number, number>();
  for await (const { shard, lines } of readPlan(deps, head.plan)) linesOf.set(shard, lines);
  const unfinished = new Set(linesOf.keys());
  for await (const record of deps.shards.list(head.batchId, head.plan?.shards)) {
    const lines = linesOf.get(record.shard);
    if (lines === undefined || !isShardDone({ lines }, record.done)) continue;
    unfinished.delete(record.shard);
    addUsage(usage, record);
  }
  return { allDone: unfinished.size === 0, usage, unfinished };
}

/** As above, where nothing says which lines a shard has: all are done where as many lines as there were to run are. */
async function surveyRecords(deps: Pick<Deps, 'shards'>, head: BatchHead): Promise<Survey> {
  const usage: Usage = { inputTokens: 0, outputTokens: 0 };
  let finished = 0;
  for await (const record of deps.shards.list(head.batchId, head.plan?.shards)) {
    finished += record.completed + record.failed;
    addUsage(usage, record);
  }
  return { allDone: finished === head.plan?.runnable, usage, unfinished: new Set() };
}

/** Every shard that there can be. */
async function sealRecords(deps: Deps, head: BatchHead): Promise<Survey> {
  const shards = Array.from({ length: head.plan?.shards ?? 0 }, (_, shard) => shard);
  for (let from = 0; from < shards.length; from += SEALS_AT_ONCE) {
    const group = shards.slice(from, from + SEALS_AT_ONCE);
    await Promise.all(group.map((shard) => deps.shards.seal(head.batchId, unknownRange(shard))));
  }
  return surveyRecords(deps, head);
}

async function seal(
  deps: Deps,
  head: BatchHead & { plan?: Plan | undefined },
  { usage: usageOfDone, unfinished }: Survey,
): Promise<{ allDone: boolean; usage: Usage }> {
  const usage = { ...usageOfDone };
  if (!head.plan) return { allDone: false, usage };
  let allDone = true;
  const sealOne = async (range: ShardRange) => {
    const record = await deps.shards.seal(head.batchId, range);
    allDone &&= isShardDone(range, record.done);
    addUsage(usage, record);
  };
  // Begun together: one that failed while the plan is read on would be a rejection that nobody waits for.
  let group: ShardRange[] = [];
  for await (const range of readPlan(deps, head.plan)) {
    if (!unfinished.has(range.shard)) continue;
    group.push(range);
    if (group.length === SEALS_AT_ONCE) {
      await Promise.all(group.map(sealOne));
      group = [];
    }
  }
  await Promise.all(group.map(sealOne));
  return { allDone, usage };
}

function addUsage(usage: Usage, record: ShardRecord): void {
  usage.inputTokens += record.usage.inputTokens;
  usage.outputTokens += record.usage.outputTokens;
}
