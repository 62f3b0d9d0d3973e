import type { BatchSpec } from './batchSpec.ts';
import type { AskedLine } from './lines.ts';
import { hold } from './violation.ts';

/** What the wire says of a batch, as far as it is looked at here. */
export type View = {
  id: string;
  status: Status;
  errors: { code: string; line: number | null; message: string; param: string | null }[];
  request_counts: { total: number; completed: number; failed: number };
  has_output_file: boolean;
  has_errors_file: boolean;
  created_at: string;
  expires_at: string;
  in_progress_at: string | null;
  finalizing_at: string | null;
  completed_at: string | null;
  failed_at: string | null;
  expired_at: string | null;
  cancelling_at: string | null;
  cancelled_at: string | null;
  delivered_at: string | null;
  delivery: { attempts: number; gave_up_at: string | null } | null;
  retry_of: string | null;
  [field: string]: unknown;
};

export type Status =
  | 'validating'
  | 'in_progress'
  | 'finalizing'
  | 'cancelling'
  | 'completed'
  | 'failed'
  | 'expired'
  | 'cancelled';
const ENDED: readonly Status[] = ['completed', 'failed', 'expired', 'cancelled'];
export const hasEnded = (view: View) => ENDED.includes(view.status);

/** The contract's table of moves. */
const MOVES: Record<Status, readonly Status[]> = {
  validating: ['in_progress', 'failed', 'cancelling', 'expired'],
  in_progress: ['finalizing', 'cancelling'],
  finalizing: ['completed', 'failed', 'expired', 'cancelling'],
  cancelling: ['cancelled', 'failed'],
  completed: [],
  failed: [],
  expired: [],
  cancelled: [],
};

function canReach(from: Status, to: Status): boolean {
  return from === to || MOVES[from].some((next) => canReach(next, to));
}

/** A file's lines by what they are for, as the batch ended. */
export type EndedFiles = { outputSha: string | undefined; errorsSha: string | undefined };
/** Where each line of a batch that ran is, by its number. */
export type Results = Map<number, { file: 'output' | 'errors'; text: string }>;

/** A batch that was accepted, and all that its client has seen of it. */
export type Known = {
  id: string;
  spec: BatchSpec;
  /** The lines that this batch is to bring to an end; `kept`: those whose results a retry takes over, by line. */
  lines: AskedLine[];
  kept: Results;
  /** Whether it repeats lines of another batch, whose prompts were asked before. */
  isRetry: boolean;
  newest: View;
  cancelAnswered: boolean;
  /** Texts of output and errors lines that a partial download has shown. */
  shown: { output: Set<string>; errors: Set<string> };
  ended: { view: View; files: EndedFiles; results: Results } | undefined;
};

/** Takes a new look into the books; throws where the batch has gone a way that there is none of. */
export function observe(known: Known, view: View): void {
  const { id, newest } = known;
  hold(view.id === id, id, () => `GET of it answered the batch ${view.id}`);
  hold(canReach(newest.status, view.status), id, () => `It went from ${newest.status} to ${view.status}`);
  hold(!known.cancelAnswered || ['cancelling', 'cancelled'].includes(view.status), id, () => {
    return `Its cancel was answered with 200, and it is ${view.status}`;
  });
  const { total, completed, failed } = view.request_counts;
  hold(completed + failed <= total, id, () => `It counts ${completed} + ${failed} of ${total} lines`);
  if (hasEnded(newest)) holdUnchanged(known, view);
  else known.newest = view;
}

/** Of an ended batch only what belongs to its notification may change. */
const NOTIFICATION_FIELDS = new Set(['delivered_at', 'delivery', 'updated_at']);

export function holdUnchanged({ id, newest }: Known, view: View): void {
  for (const field of new Set([...Object.keys(newest), ...Object.keys(view)])) {
    if (NOTIFICATION_FIELDS.has(field)) continue;
    const [before, now] = [JSON.stringify(newest[field]), JSON.stringify(view[field])];
    hold(before === now, id, () => `It had ended, and its ${field} changed from ${before} to ${now}`);
  }
}

/** The statuses that its times say it has gone through, each a move of the table. `skewMs`: clocks may differ by so much. */
export function holdPath(view: View, skewMs = 0): void {
  const times: [Status, string | null][] = [
    ['in_progress', view.in_progress_at],
    ['finalizing', view.finalizing_at],
    ['cancelling', view.cancelling_at],
    ['completed', view.completed_at],
    ['failed', view.failed_at],
    ['expired', view.expired_at],
    ['cancelled', view.cancelled_at],
  ];
  let at: Status = 'validating';
  let since = view.created_at;
  for (const [status, time] of times) {
    if (time === null) continue;
    const from: Status = at;
    const before = since;
    hold(MOVES[from].includes(status), view.id, () => `Its times say that it went from ${from} to ${status}`);
    hold(
      Date.parse(time) >= Date.parse(before) - skewMs,
      view.id,
      () => `It was ${status} at ${time}, before it was ${from} at ${before}`,
    );
    at = status;
    since = time;
  }
  hold(at === view.status, view.id, () => `Its times say that it is ${at}, its status says ${view.status}`);
}
