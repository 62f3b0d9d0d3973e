import type { Settings } from '../contract/settings.ts';
import type { StepInput, StepOutput } from '../contract/steps.ts';
import type { BatchHead, BatchRef, Plan } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { InputRejected } from '../domain/errors.ts';
import type { LineTable } from '../domain/lines/lineTable.ts';
import type { ModelsFile } from '../domain/models.ts';
import { objectKeys } from '../domain/objectKeys.ts';
import { cutShards } from '../domain/shardPlanner.ts';
import type { Invocation, MoveResult, Ports } from '../ports.ts';
import { enterInputStep, watchControl } from './enterInputStep.ts';
import { rejectInput } from './rejectInput.ts';
import { type CheckedInput, checkLines } from './validateInput/checkLines.ts';
import { InvalidLines } from './validateInput/invalidLines.ts';
import { selectFailed } from './validateInput/selectFailed.ts';

type Deps = Pick<Ports, 'batches' | 'controls' | 'files' | 'clock' | 'log'> & {
  settings: Settings;
  models: ModelsFile;
};

/** Enough to lay down a plan of 1,000,000 lines. */
const RESERVE_MS = 20_000;
/** Ranges are handed to the plan's upload in groups of so many: each is 100 to 500 bytes. */
const PLAN_GROUP = 500;

/**
 * Reads the input once, finds its bad lines, and lays down the plan: the shards to run and the bad lines' place in the
 * errors file. Run again it writes the same bytes under the same keys.
 */
export async function validateInput(
  deps: Deps,
  run: StepInput<'validateInput'>,
  invocation: Invocation,
): Promise<StepOutput<'validateInput'>> {
  const { version, projectId, batchId, attempt } = run;
  const answer = (next: StepOutput<'validateInput'>['next']) => ({ version, projectId, batchId, attempt, next });
  const entered = await enterInputStep(deps, run);
  if (!entered.go) return answer(entered.next);
  const { ref, head } = entered;
  const { input } = head;
  if (input === undefined) throw new Error('Validate runs after Fetch, but the batch has no input on its record.');

  const { files, models, settings } = deps;
  const invalid = new InvalidLines(files, objectKeys.invalid(ref, attempt), batchId);
  try {
    const mustStop = watchControl(deps, batchId, settings.worker.controlEverySeconds * 1000);
    const stopped = () => {
      // 5 GB take minutes of the 15 there are. If ever they do not, say so, and leave nothing half done.
      if (invocation.remainingMs() < RESERVE_MS) throw new Error('The input cannot be read within one invocation.');
      return mustStop();
    };
    const selection = await selectFailed(files, head);
    const checker = { files, models, limits: settings.limits, only: selection?.only };
    const checked = await checkLines(checker, head, input, invalid, stopped);
    if (checked === 'stopped') {
      await invalid.abort();
      return answer('finalize');
    }
    if (selection && selection.failed !== checked.lines.askedFor)
      throw new Error(`The input has ${checked.lines.askedFor} of the ${selection.failed} lines to be repeated.`);
    return answer(await settle(deps, ref, head, input.bytes, checked, invalid, selection?.kept ?? 0));
  } catch (error) {
    await invalid.abort();
    if (error instanceof InputRejected) return answer(await rejectInput(deps, ref, attempt, error));
    throw error;
  }
}

/** Puts what was found on the record, and moves the batch on. */
async function settle(
  deps: Deps,
  ref: BatchRef,
  { attempt, onInvalidLine }: BatchHead,
  bytes: number,
  { lines, models, sha256 }: CheckedInput,
  invalid: InvalidLines,
  toKeep: number,
): Promise<StepOutput<'validateInput'>['next']> {
  const failed = invalid.count > 0 && onInvalidLine === 'fail';
  const kept = failed ? 0 : toKeep;
  const key = objectKeys.plan(ref, attempt);
  const shards = await writePlan(deps, key, failed ? undefined : lines);
  const segment = await invalid.complete();
  const plan: Plan = {
    key,
    shards,
    lines: lines.askedFor,
    runnable: lines.runnable,
    ...(segment ? { invalid: segment } : {}),
    ...(kept > 0 ? { kept } : {}),
    ...(models ? { models } : {}),
    input: { bytes, sha256 },
  };
  const now = deps.clock.now();
  const requestCounts = { total: lines.askedFor + kept, completed: kept, failed: lines.badLines };
  deps.log.info('The input is validated.', { batchId: ref.batchId, ...requestCounts, shards });
  if (segment) {
    // Minutes have passed since the record was read: what a newer attempt, or the end, put there is not to be replaced.
    const standing = await deps.batches.get(ref);
    if (standing?.attempt !== attempt || isEnded(standing.status)) return 'end';
    await deps.batches.setErrors(ref.batchId, invalid.first);
  }
  if (failed) {
    if ((await deps.batches.setPlan(ref, attempt, plan)) === 'superseded') return 'end';
    await deps.batches.setCounts(ref, requestCounts, undefined, now);
    const message = `${lines.badLines} of ${lines.askedFor} lines of the input are not valid; nothing was run.`;
    const outcome = { kind: 'failed', reason: 'invalid_input', message, fixedAt: now } as const;
    return (await deps.batches.fixOutcome(ref, outcome, { attempt })) === 'superseded' ? 'end' : 'finalize';
  }
  const moved = await deps.batches.move(ref, 'in_progress', { now, attempt, change: { plan, requestCounts } });
  return afterMove(moved, attempt);
}

/** Who was faster: a newer attempt, a cancel, or the deadline. */
function afterMove(moved: MoveResult, attempt: number): 'plan' | 'finalize' | 'end' {
  if (moved.result === 'not_found' || moved.head.attempt !== attempt || isEnded(moved.head.status)) return 'end';
  return moved.result === 'refused' ? 'finalize' : 'plan';
}

/** JSONL of `ShardRange`, streamed: a file of few lines among many blank ones can have a shard a line. */
async function writePlan({ files, settings }: Deps, key: string, lines: LineTable | undefined): Promise<number> {
  const upload = await files.upload(key, { contentType: 'application/jsonl' });
  let shards = 0;
  let group: string[] = [];
  const flush = async () => {
    await upload.write(Buffer.from(group.join('')));
    group = [];
  };
  try {
    for (const range of lines ? cutShards(lines, settings.shards) : []) {
      shards++;
      group.push(`${JSON.stringify(range)}\n`);
      if (group.length === PLAN_GROUP) await flush();
    }
    await flush();
    await upload.complete();
    return shards;
  } catch (error) {
    await upload.abort();
    throw error;
  }
}
