import type { Usage } from '../../domain/batch.ts';
import type { PaceTicket } from '../../domain/retry/callPacer.ts';
import type { FailureCause } from '../../domain/retry/failureCauses.ts';
import type { WindowTicket } from '../../domain/retry/inFlightWindow.ts';
import type { CalledLine } from './callLine.ts';

/**
 * A call of a model that is under way. The lane and its gates note on it what they want to know at its end: a map of
 * calls that thousands pass through keeps many that are long over, which the collector then copies again and again.
 */
export type GatedCall = {
  readonly line: CalledLine;
  readonly beganAt: number;
  /** Its fault was the line's own, not the model's: it uses up one of the line's attempts. */
  blame(): void;
  windowTicket?: WindowTicket;
  paceTicket?: PaceTicket;
  /** Calls of a lane are numbered as they begin. */
  number?: number;
  /** Milliseconds of the model's time that were taken for it. */
  takenMs?: number;
};

/** How it ended. Without a cause it succeeded; `called_off`: by us, which says nothing of the model. */
export type GatedEnd = {
  cause?: FailureCause | 'called_off';
  status?: number | undefined;
  retryAfterMs?: number | undefined;
  usage?: Usage | undefined;
};

/** What has a say in when a model may be called: its pace, its circuit, its share of a limit. One a lane. */
export type CallGate = {
  /** When the next call may begin: at `now` or before it is open. Infinity: `prepare` must learn more first. */
  opensAt(now: number): number;
  /**
   * Asked before each look at `opensAt` while lines are ready. Answers the work that it begins in a store, where some is
   * due and none is under way; this never rejects.
   */
  prepare(now: number): Promise<void> | undefined;
  began(call: GatedCall): void;
  ended(call: GatedCall, end: GatedEnd): void;
  /** The worker's turn is over: what was taken and not used is given back. `goesOn`: its lines have another turn. */
  close?(turn: { goesOn: boolean }): Promise<void>;
};
