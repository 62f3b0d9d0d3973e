import { FAILURE_CAUSES, type FailureCause } from '../../domain/retry/failureCauses.ts';
import { createInFlightWindow, type InFlightWindow, type WindowTicket } from '../../domain/retry/inFlightWindow.ts';
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
  /** When the next call may begin, places in flight aside. Infinity: not before what `prepare` began has ended. */
  opensAt(now: number): number;
  canSend(now: number): boolean;
  /** Work that has to be done before calls go on; asked while lines are ready. */
  prepare(now: number): Promise<void>[];
  began(call: GatedCall): void;
  ended(call: GatedCall, end: GatedEnd): void;
  close(): Promise<void>;
};

export type Rejection = { cause: FailureCause; status?: number };

export type LaneOptions = {
  gates?: CallGate[];
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
  const { gates = [] } = options;
  const window = createInFlightWindow(options);
  const tickets = new Map<GatedCall, WindowTicket>();
  let pausedUntil = 0;
  let rejected: Rejection | undefined;
  /** Halvings since the last success. */
  let refusals = 0;
  let forbidden = 0;

  const opensAt = (now: number) => gates.reduce((at, gate) => Math.max(at, gate.opensAt(now)), pausedUntil);

  const refused = (halved: boolean, retryAfterMs: number | undefined) => {
    if (halved) refusals++;
    const now = options.now();
    if (retryAfterMs !== undefined) pausedUntil = Math.max(pausedUntil, now + boundRetryAfter(retryAfterMs));
    // Halved again and still refused, with nothing let through in between: a smaller window alone does not help.
    else if (halved && refusals > 1)
      pausedUntil = Math.max(pausedUntil, now + jitteredBackoffMs(refusals - 1, options, options.random));
  };
  const failed = (cause: FailureCause, status: number | undefined) => {
    if (cause === 'forbidden') forbidden++;
    if (cause === 'unauthorized' || cause === 'model_missing' || forbidden >= FORBIDDEN_IN_A_ROW)
      rejected ??= { cause, ...(status === undefined ? {} : { status }) };
  };

  return {
    ready: [],
    window,
    get rejected() {
      return rejected;
    },
    opensAt,
    canSend: (now) => window.hasRoom() && opensAt(now) <= now,
    prepare: (now) => gates.flatMap((gate) => gate.prepare(now) ?? []),
    began(call) {
      tickets.set(call, window.enter());
      for (const gate of gates) gate.began(call);
    },
    ended(call, end) {
      const ticket = tickets.get(call);
      if (ticket === undefined) return;
      tickets.delete(call);
      const { cause } = end;
      const overload = cause !== undefined && cause !== 'called_off' && FAILURE_CAUSES[cause].overload;
      const halved = window.leave(ticket, cause === undefined ? 'clean' : overload ? 'overloaded' : 'other');
      if (cause === undefined) {
        refusals = 0;
        forbidden = 0;
      } else if (overload) refused(halved, end.retryAfterMs);
      if (cause !== undefined && cause !== 'called_off') failed(cause, end.status);
      for (const gate of gates) gate.ended(call, end);
    },
    async close() {
      for (const gate of gates) await gate.close?.();
    },
  };
}
