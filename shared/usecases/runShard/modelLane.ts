import { FAILURE_CAUSES, type FailureCause } from '../../domain/retry/failureCauses.ts';
import type { InFlightWindow } from '../../domain/retry/inFlightWindow.ts';
import { boundRetryAfter, jitteredBackoffMs } from '../../domain/retry/retryClock.ts';
import type { CallGate, GatedCall, GatedEnd } from './callGate.ts';

/**
 * What this worker knows of one model: how many calls it takes at a time, whether it asked for a pause, and whether it
 * is refused to us altogether. Its gates know more: the pace that the model takes, the circuit and the limits that all
 * workers share.
 */
export type ModelLane<Line> = {
  /** Lines whose turn it is, oldest first. */
  readonly ready: Line[];
  readonly window: Pick<InFlightWindow, 'size' | 'inFlight'>;
  /** Set when the model's lines cannot succeed: they fail without a call. */
  readonly rejected: Rejection | undefined;
  /** The model asked for a pause until then. */
  readonly pausedUntil: number;
  /** Places in its limits are taken for lines that are ready beyond those that could be sent at once. */
  readonly plansAhead: boolean;
  /** The next call is to tell whether the model is up at all. */
  readonly probing: boolean;
  /** When the next call may begin, places in flight aside. Infinity: not before what `prepare` began has ended. */
  opensAt(now: number): number;
  canSend(now: number): boolean;
  /** Work that has to be done before calls go on; asked while lines are ready. */
  prepare(now: number): Promise<void>[];
  began(call: GatedCall): void;
  ended(call: GatedCall, end: GatedEnd): void;
  close(turn: { goesOn: boolean }): Promise<void>;
};

export type Rejection = { cause: FailureCause; status?: number };

export type LaneOptions = {
  /** In the order in which they are asked: one that is closed spares those behind it the work. */
  gates?: (CallGate & { readonly probing?: boolean })[];
  plansAhead?: boolean;
  window: InFlightWindow;
  retryBaseMs: number;
  retryMaxMs: number;
  now(): number;
  random: { next(): number };
  /** The turn is over: what was found out may be kept. */
  onClose?(): void;
};

/**
 * A 403 may mean just this line (a policy on its content), so the model counts as refused only after so many in a row,
 * and not where anything has succeeded. 401 and a missing model mean every line.
 */
const FORBIDDEN_IN_A_ROW = 3;

/**
 * Refusals (429, 503 and the like) in a row, with no success in between, before the whole lane pauses. Of a server that
 * lets some calls through, each refused line waits for its own `Retry-After` and the others go on at the model's pace.
 */
const REFUSALS_TO_PAUSE = 4;

export function createModelLane<Line>(options: LaneOptions): ModelLane<Line> {
  const { gates = [], window, plansAhead = false } = options;
  let pausedUntil = 0;
  let rejected: Rejection | undefined;
  /** Since the last success: refusals, and pauses for them. */
  let refusals = 0;
  let pauses = 0;
  let pausedAt = Number.NEGATIVE_INFINITY;
  let forbidden = 0;
  let hasSucceeded = false;

  const opensAt = (now: number) => gates.reduce((at, gate) => Math.max(at, gate.opensAt(now)), pausedUntil);

  const refused = ({ beganAt }: GatedCall, retryAfterMs: number | undefined) => {
    refusals++;
    if (refusals < REFUSALS_TO_PAUSE) return;
    const now = options.now();
    if (retryAfterMs !== undefined) pausedUntil = Math.max(pausedUntil, now + boundRetryAfter(retryAfterMs));
    // A call that had begun before the last pause says nothing of what came after it.
    else if (beganAt > pausedAt) {
      pausedAt = now;
      pausedUntil = Math.max(pausedUntil, now + jitteredBackoffMs(++pauses, options, options.random));
    }
  };
  const failed = (cause: FailureCause, status: number | undefined) => {
    if (cause === 'forbidden' && !hasSucceeded) forbidden++;
    if (cause === 'unauthorized' || cause === 'model_missing' || forbidden >= FORBIDDEN_IN_A_ROW)
      rejected ??= { cause, ...(status === undefined ? {} : { status }) };
  };

  return {
    ready: [],
    window,
    plansAhead,
    get rejected() {
      return rejected;
    },
    get pausedUntil() {
      return pausedUntil;
    },
    get probing() {
      return gates.some((gate) => gate.probing);
    },
    opensAt,
    canSend: (now) => window.hasRoom() && opensAt(now) <= now,
    prepare(now) {
      const begun: Promise<void>[] = [];
      for (const gate of gates) {
        begun.push(...[gate.prepare(now) ?? []].flat());
        if (gate.opensAt(now) > now) break;
      }
      return begun;
    },
    began(call) {
      call.windowTicket = window.enter();
      for (const gate of gates) gate.began(call);
    },
    ended(call, end) {
      const { windowTicket } = call;
      if (windowTicket === undefined) return;
      const { cause } = end;
      const overloaded = cause !== undefined && cause !== 'called_off' && FAILURE_CAUSES[cause].overload;
      window.leave(windowTicket, cause === undefined ? 'clean' : overloaded ? 'overloaded' : 'other');
      if (cause === undefined) {
        refusals = 0;
        pauses = 0;
        forbidden = 0;
        hasSucceeded = true;
      } else if (overloaded || cause === 'rate_limited') refused(call, end.retryAfterMs);
      if (cause !== undefined && cause !== 'called_off') failed(cause, end.status);
      for (const gate of gates) gate.ended(call, end);
    },
    async close(turn) {
      options.onClose?.();
      await Promise.all(gates.map((gate) => gate.close?.(turn)));
    },
  };
}
