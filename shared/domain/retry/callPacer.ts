/**
 * Finds the rate at which a model takes calls, where nobody has told us its limit. Until the first refusal there is no
 * pace at all; then calls are spaced evenly, and the pace follows what the server lets through:
 *
 *   refused more than `TOLERATED_REFUSALS`  →  what it let through, a little less
 *   refused now and then                    →  stays: just under the limit
 *   refused nothing                         →  a little faster, in growing steps, so that a limit that rose is found soon
 *
 * Judged by epochs of calls that were begun at the same pace, since an answer tells of the pace at which it was asked.
 */
export type CallPacer = {
  /** Calls a second; undefined while there is no pace. */
  readonly perSecond: number | undefined;
  /** When the next call may begin. */
  nextAt(now: number): number;
  /** A call begins; the ticket goes back with its end. */
  began(now: number): PaceTicket;
  ended(ticket: PaceTicket, outcome: 'accepted' | 'refused', now: number): void;
};

/** The epoch in which the call began. */
export type PaceTicket = number;

const TOLERATED_REFUSALS = 0.025;
/** Below what the server let through: what was refused comes again, on top of the rest. */
const STEP_BACK = 0.95;
/** One epoch of a few calls must not make the pace a crawl. */
const LARGEST_STEP_BACK = 0.5;
/** Share by which a clean epoch makes the pace faster; grows each time, up to the largest. */
const FIRST_STEP = 0.01;
const STEP_GROWTH = 1.6;
const LARGEST_STEP = 0.12;
/** Near the pace that was refused last the steps stay small; beyond it they grow, since the limit has risen. */
const NEAR_REFUSED = [0.9, 1.05] as const;
/** A pace that is not used (the window or the lines are the bound) proves nothing about a faster one. */
const USED = 0.9;
/** What is taken for the limit where not one call was let through: a share of what was tried. */
const GUESS = 0.1;
/** An epoch ends after so many answers, fewer where all are good, and not before a second has passed… */
const EPOCH_ANSWERS = 50;
const CLEAN_EPOCH_ANSWERS = 10;
const EPOCH_MS = 1_000;
/** …but where calls are rare a few must do. */
const SLOW_EPOCH_MS = 15_000;
const SLOW_EPOCH_ANSWERS = 3;
/** A call may begin this much early, so that timers that wake late do not slow the pace. */
const SLACK_MS = 50;

/** `startPerSecond`: a pace that was found before. */
export function createCallPacer(startPerSecond?: number): CallPacer {
  let perSecond = startPerSecond;
  let dueAt = 0;
  let step = FIRST_STEP;
  let refusedAt = 0;
  let epoch = 0;
  let epochAt: number | undefined;
  let begun = 0;
  let accepted = 0;
  let refused = 0;

  const startEpoch = (now: number) => {
    epoch++;
    epochAt = now;
    begun = 0;
    accepted = 0;
    refused = 0;
  };
  const isOver = (now: number) => {
    const ms = now - (epochAt ?? now);
    const answers = accepted + refused;
    const enough = refused === 0 ? CLEAN_EPOCH_ANSWERS : EPOCH_ANSWERS;
    return (ms >= EPOCH_MS && answers >= enough) || (ms >= SLOW_EPOCH_MS && answers >= SLOW_EPOCH_ANSWERS);
  };
  const judge = (now: number) => {
    const share = refused / (accepted + refused);
    const seconds = Math.max(now - (epochAt ?? now), 1) / 1_000;
    if (perSecond === undefined) {
      // What was let through since the epoch began is all that is known of the limit.
      if (refused > 0) perSecond = Math.max(Math.max(accepted, refused * GUESS) / seconds, LEAST_PER_SECOND);
    } else if (refused > 0) {
      refusedAt = perSecond;
      step = FIRST_STEP;
      if (share > TOLERATED_REFUSALS)
        perSecond = Math.max(perSecond * Math.max(1 - share, LARGEST_STEP_BACK) * STEP_BACK, LEAST_PER_SECOND);
    } else if (begun / seconds >= perSecond * USED) {
      const isNear = perSecond > refusedAt * NEAR_REFUSED[0] && perSecond < refusedAt * NEAR_REFUSED[1];
      perSecond *= 1 + (isNear ? FIRST_STEP : step);
      step = Math.min(step * STEP_GROWTH, LARGEST_STEP);
    }
    startEpoch(now);
  };

  return {
    get perSecond() {
      return perSecond;
    },
    nextAt: (now) => (perSecond === undefined ? now : Math.max(dueAt - SLACK_MS, 0)),
    began(now) {
      epochAt ??= now;
      if (perSecond !== undefined) dueAt = Math.max(dueAt, now - SLACK_MS) + 1_000 / perSecond;
      begun++;
      return epoch;
    },
    ended(ticket, outcome, now) {
      if (ticket !== epoch) return;
      if (outcome === 'accepted') accepted++;
      else refused++;
      if (isOver(now)) judge(now);
    },
  };
}

/** One call in ten minutes: slower than any limit that a batch could live with. */
const LEAST_PER_SECOND = 1 / 600;
