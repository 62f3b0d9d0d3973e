import type { CheckView } from '../contract/checkView.ts';
import type { Workflow } from '../ports.ts';
import { checkBatch } from './checkBatches/checkBatch.ts';
import type { CheckDeps, Look } from './checkBatches/look.ts';

/** Due batches read at a time, and looked at side by side. */
const PAGE = 50;
const LOOKS_AT_ONCE = 5;
/** DescribeExecution: a bucket of 250 calls, refilled by 10 a second in small regions, for the whole account. */
const MAX_DESCRIBES = 200;

/**
 * The safety net under everything that can be lost: looks at each batch that is due and moves on what stands still.
 * Each write that it makes is conditional on what it has read, so that two at once do nothing twice. It takes on no
 * batch after `settings.check.budgetSeconds`.
 */
export async function checkBatches(deps: CheckDeps): Promise<CheckView> {
  const { batches, clock, log, settings } = deps;
  const startedAt = clock.now();
  const workflow = counted(deps.workflow);
  const isOver = () =>
    clock.now() - startedAt >= settings.check.budgetSeconds * 1000 || workflow.describes >= MAX_DESCRIBES;
  const view: CheckView = {
    checked: 0,
    expired: 0,
    recovered: 0,
    failed: 0,
    notified: 0,
    unchanged: 0,
    has_more: false,
    batches: [],
  };
  // A look pushes the batch on in the index, but the index lags, and may name one that cannot be pushed on.
  const seen = new Set<string>();

  for (;;) {
    const due = await batches.listDue(startedAt, PAGE + seen.size);
    const fresh = due.filter(({ batchId }) => !seen.has(batchId));
    if (fresh.length === 0) return view;
    for (let from = 0; from < fresh.length; from += LOOKS_AT_ONCE) {
      if (isOver()) return { ...view, has_more: true };
      const group = fresh.slice(from, from + LOOKS_AT_ONCE);
      const looks = await Promise.all(
        group.map(async (ref): Promise<Look> => {
          seen.add(ref.batchId);
          try {
            return await checkBatch({ ...deps, workflow }, ref);
          } catch (error) {
            // One batch that cannot be looked at must not keep the others from it; it stays due.
            log.error('A batch could not be checked', { batchId: ref.batchId, error });
            return { did: 'unchanged' };
          }
        }),
      );
      for (const look of looks) add(view, look);
    }
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
