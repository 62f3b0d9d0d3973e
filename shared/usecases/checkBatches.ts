import type { CheckView } from '../contract/checkView.ts';
import type { BatchRef } from '../domain/batch.ts';
import type { Workflow } from '../ports.ts';
import { checkBatch } from './checkBatches/checkBatch.ts';
import type { CheckDeps, Look } from './checkBatches/look.ts';
import { settleWithin } from './settleWithin.ts';

/** Due batches read at a time, and looked at side by side. */
const PAGE = 50;
const LOOKS_AT_ONCE = 5;
/** DescribeExecution: a bucket of 250 calls, refilled by 10 a second in small regions, for the whole account. */
const MAX_DESCRIBES = 200;
/** An entry of the answer is some 150 bytes. */
const MAX_LOOKS = 1_000;
/** Looks that have begun when the budget is over have this long; the answer is due within 20 s of the request. */
const LAST_LOOKS_MS = 3_000;

/**
 * The safety net under everything that can be lost: looks at each batch that is due, those that are due longest first, and
 * moves on what stands still. Each write that it makes is conditional on what it has read, so that two at once do nothing
 * twice. It takes on no batch after `settings.check.budgetSeconds`, and answers 3 s later even where a call of its own
 * hangs: what that look still does is safe, and the next call looks again.
 */
export async function checkBatches(deps: CheckDeps): Promise<CheckView> {
  const { log, settings } = deps;
  const view: CheckView = {
    checked: 0,
    expired: 0,
    recovered: 0,
    failed: 0,
    notified: 0,
    unchanged: 0,
    has_more: true,
    batches: [],
  };
  const budgetMs = settings.check.budgetSeconds * 1000;
  const looking = lookAtDue(deps, view, budgetMs).then((left) => {
    view.has_more = left === 'some_left';
  });
  if ((await settleWithin(looking, budgetMs + LAST_LOOKS_MS)) === 'settled') return view;
  log.error('The check was cut off: calls that it made have not come back', { checked: view.checked });
  // A copy: looks that come back late are no part of this answer.
  return { ...view, batches: [...view.batches] };
}

async function lookAtDue(deps: CheckDeps, view: CheckView, budgetMs: number): Promise<'none_left' | 'some_left'> {
  const { batches, clock } = deps;
  const startedAt = clock.now();
  const workflow = counted(deps.workflow);
  const isOver = () =>
    clock.now() - startedAt >= budgetMs || workflow.describes >= MAX_DESCRIBES || view.checked >= MAX_LOOKS;
  // A look pushes the batch on in the index, but the index lags, and may name one that cannot be pushed on.
  const seen = new Set<string>();
  let stale = 0;

  for (;;) {
    const limit = PAGE + stale;
    const due = await batches.listDue(startedAt, limit);
    const fresh = due.filter(({ batchId }) => !seen.has(batchId));
    if (fresh.length === 0 && due.length < limit) return 'none_left';
    stale = due.length - fresh.length;
    for (let from = 0; from < fresh.length; from += LOOKS_AT_ONCE) {
      if (isOver()) return 'some_left';
      const group = fresh.slice(from, from + LOOKS_AT_ONCE);
      for (const { batchId } of group) seen.add(batchId);
      const looks = await Promise.all(group.map((ref) => lookAt({ ...deps, workflow }, ref)));
      for (const look of looks) add(view, look);
    }
  }
}

/** One batch that cannot be looked at must not keep the others from it. */
async function lookAt(deps: CheckDeps, ref: BatchRef): Promise<Look> {
  const { batches, clock, log, settings } = deps;
  try {
    return await checkBatch(deps, ref);
  } catch (error) {
    log.error('A batch could not be checked', { batchId: ref.batchId, error });
    try {
      // Where it cannot even be read it would be due longest for ever, and be the first of every call.
      await batches.setDue(ref, clock.now() + settings.check.lookAgainSeconds * 1000);
    } catch (cause) {
      log.warn('A batch could not be put off', { batchId: ref.batchId, error: cause });
    }
    return { did: 'unchanged' };
  }
}

function counted(workflow: Workflow): Workflow & { describes: number } {
  const counting = {
    ...workflow,
    describes: 0,
    describeBatch(batchId: string, attempt: number) {
      counting.describes++;
      return workflow.describeBatch(batchId, attempt);
    },
    describeNotification(batchId: string, notification: number) {
      counting.describes++;
      return workflow.describeNotification(batchId, notification);
    },
  };
  return counting;
}

function add(view: CheckView, look: Look): void {
  view.checked++;
  view[look.did]++;
  if (look.did === 'unchanged') return;
  const { id, from, to, reason } = look;
  view.batches.push({ id, from, to, reason });
}
