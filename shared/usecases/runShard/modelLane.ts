import { FAILURE_CAUSES, type FailureCause } from '../../domain/retry/failureCauses.ts';
import { createInFlightWindow, type InFlightWindow, type WindowTicket } from '../../domain/retry/inFlightWindow.ts';
import { boundRetryAfter, jitteredBackoffMs } from '../../domain/retry/retryClock.ts';

/**
 * What this worker knows of one model: how many calls it takes at a time, whether it asked for a pause, and whether it
 * is refused to us altogether. A seam for the shared limits and circuits of models: they will answer here as well.
 */
export type ModelLane<Line> = {
  /** Lines whose turn it is, oldest first. */
  readonly ready: Line[];
  readonly window: InFlightWindow;
  /** Nothing is sent before this time. */
  readonly pausedUntil: number;
  /** Set when the model's lines cannot succeed: they fail without a call. */
  readonly rejected: Rejection | undefined;
  canSend(now: number): boolean;
  succeeded(ticket: WindowTicket): void;
  failed(ticket: WindowTicket, failure: { cause: FailureCause; status?: number; retryAfterMs?: number }): void;
  calledOff(ticket: WindowTicket): void;
};

export type Rejection = { cause: FailureCause; status?: number };

export type LaneOptions = {
  start: number;
  max: number;
  retryBaseMs: number;
  retryMaxMs: number;
  now(): number;
  random: { next(): number };
};

/**
 * A 403 may mean just this line (a policy on its content), so the model counts as refused only after so many in a row
 * without a success. 401 and a missing model mean every line.
 */
const FORBIDDEN_IN_A_ROW = 3;

export function createModelLane<Line>(options: LaneOptions): ModelLane<Line> {
  const window = createInFlightWindow(options);
  let pausedUntil = 0;
  let rejected: Rejection | undefined;
  /** Halvings since the last success. */
  let refusals = 0;
  let forbidden = 0;

  return {
    ready: [],
    window,
    get pausedUntil() {
      return pausedUntil;
    },
    get rejected() {
      return rejected;
    },
    canSend: (now) => window.hasRoom() && now >= pausedUntil,
    succeeded(ticket) {
      window.leave(ticket, 'clean');
      refusals = 0;
      forbidden = 0;
    },
    failed(ticket, { cause, status, retryAfterMs }) {
      const halved = window.leave(ticket, FAILURE_CAUSES[cause].overload ? 'overloaded' : 'other');
      if (halved) refusals++;
      if (FAILURE_CAUSES[cause].overload) {
        const now = options.now();
        if (retryAfterMs !== undefined) pausedUntil = Math.max(pausedUntil, now + boundRetryAfter(retryAfterMs));
        // Halved again and still refused, with nothing let through in between: a smaller window alone does not help.
        else if (halved && refusals > 1) {
          pausedUntil = Math.max(pausedUntil, now + jitteredBackoffMs(refusals - 1, options, options.random));
        }
      }
      if (cause === 'forbidden') forbidden++;
      if (cause === 'unauthorized' || cause === 'model_missing' || forbidden >= FORBIDDEN_IN_A_ROW) {
        rejected ??= { cause, ...(status === undefined ? {} : { status }) };
      }
    },
    calledOff: (ticket) => void window.leave(ticket, 'other'),
  };
}
