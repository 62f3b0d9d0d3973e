import type { BatchRef } from '../../domain/batch.ts';
import {
  blockCostMs,
  callsOfBlock,
  HORIZON_MS,
  LATE_MS,
  LIMIT_MS,
  type ModelLimits,
  PRESENCE_MS,
  shareRecords,
} from '../../domain/retry/callShare.ts';
import { createTokenEstimate } from '../../domain/retry/tokenEstimate.ts';
import type { Ports } from '../../ports.ts';
import type { CallGate } from './callGate.ts';
import type { CalledLine } from './callLine.ts';

export type ShareGateOptions = {
  model: string;
  limits: ModelLimits;
  /** The batch whose part this is. */
  holder: BatchRef;
  /** How many workers of the batch share its part of the calls in flight. */
  workers: number;
  /** Lines whose turn it is, and how many calls more may be in flight. */
  demand(): { ready: readonly CalledLine[]; room: number };
  /** When the lane's other gates open. */
  othersOpenAt(now: number): number;
};

/** Calls that may be begun one after the other, evenly; times by this worker's clock. */
type Block = {
  record: number;
  /** The next call's place. */
  at: number;
  everyMs: number;
  left: number;
  /** What was taken for each, what was owed from before aside. */
  takenMs: number;
  /** The block's end, by the record's clock. */
  to: number;
};

/** A place that lapses is lost to all: the number that does not is sought slowly once it is about known. */
const TURNOVER_STEP = 1 / 8;

type Wanted = { calls: number; plannedMs: number; costMs: number; isBound: boolean };
/** Asks for nothing but the number of parts. */
const NO_CALLS: Wanted = { calls: 0, plannedMs: 0, costMs: 0, isBound: false };

/** The next block is taken this long before the last place of the one at hand, so that the pace has no gap. */
const LEAD_MS = 300;
/** Places are met at these steps: a timer for each of thousands would do nothing but wake. */
const TICK_MS = 10;
/**
 * Who was refused comes again after so long, with full jitter, doubled each time: who is refused many times in a row has
 * many beside it, of whom one comes soon enough for all.
 */
const FIRST_PAUSE_MS = 150;
const LONGEST_PAUSE_MS = 4_000;
/**
 * Calls that took less than was thought leave room for others, but only little of it is used later on: what was not
 * called in one minute must not come on top of the next.
 */
const MOST_TO_THE_GOOD_MS = 500;
/** After the table failed. */
const FIRST_FAULT_PAUSE_MS = 250;
const LONGEST_FAULT_PAUSE_MS = 10_000;
/** What cannot be given back in this time is lost: the turn has results to account for, and its time ends. */
const CLOSE_MS = 3_000;

/**
 * Holds a worker's calls of one model to its part of the model's limits. Where the table cannot be asked nothing is sent
 * until it can be: a limit that holds only in good weather is none.
 */
export function createShareGate(
  deps: Pick<Ports, 'callShares' | 'clock' | 'random' | 'log'>,
  options: ShareGateOptions,
): CallGate {
  const { callShares, clock, random, log } = deps;
  const { model, limits, holder, workers, demand, othersOpenAt } = options;
  const { calls_in_flight: callsInFlight = Number.POSITIVE_INFINITY } = limits;
  const isRated = blockCostMs(limits, 1, 1) > 0;
  const countsTokens = limits.tokens_per_minute !== undefined;
  const records = shareRecords(limits);
  const estimate = createTokenEstimate();

  let blocks: Block[] = [];
  let inFlight = 0;
  let record = Math.floor(random.next() * records);
  let aheadMs = 0;
  /** Undefined until the record was read. */
  let parts: number | undefined;
  let comeAt = 0;
  let underWay: Promise<void> | undefined;
  let refusals = 0;
  let failures = 0;
  /** Calls that a block has beyond those that may begin at once: doubled until places lapse, then found step by step. */
  let turnover = 1;
  let isSteady = false;
  /** The newest block could have been no longer because of it. */
  let wasBound = false;
  let lapsed = 0;
  /** What calls took beyond what was taken for them (or less): part of the next block. */
  let owedMs = 0;
  let lastAsked = 0;

  const places = () => Math.max(1, Math.floor(callsInFlight / ((parts ?? 1) * workers)));
  const left = () => blocks.reduce((sum, block) => sum + block.left, 0);
  const earliest = () => blocks.reduce((first, block) => (block.at < first.at ? block : first));

  /** A worker that could not use its places in time leaves them: used later they would crowd with others'. */
  const lapse = (now: number) => {
    for (const block of blocks) {
      while (block.left > 0 && block.at + LATE_MS < now) {
        block.at += block.everyMs;
        block.left--;
        lapsed++;
      }
    }
    blocks = blocks.filter((block) => block.left > 0);
  };

  const nextBlock = (now: number): Wanted | undefined => {
    const { ready, room } = demand();
    const held = left();
    if (ready.length <= held || othersOpenAt(now) > now + LEAD_MS) return undefined;
    if (blocks.some((block) => block.at + (block.left - 1) * block.everyMs > now + LEAD_MS)) return undefined;
    // Places that are due and not used: it is not this gate that holds calls up.
    if (blocks.some((block) => block.at <= now)) return undefined;
    if (lapsed > 0) turnover = Math.max(0, Math.floor(turnover) - lapsed);
    else if (wasBound) turnover = isSteady ? turnover + TURNOVER_STEP : 2 * turnover;
    isSteady ||= lapsed > 0;
    wasBound = false;
    lapsed = 0;
    const most = Math.min(room, places() - inFlight) - held + Math.floor(turnover);
    if (most <= 0) return undefined;
    const tokens = ready.slice(held, held + most).map((line) => (countsTokens ? estimate.of(line.call) : 0));
    const calls = callsOfBlock(limits, parts ?? 1, tokens, most);
    const sum = tokens.slice(0, calls).reduce((total, each) => total + each, 0);
    const plannedMs = blockCostMs(limits, calls, sum);
    // What is given back by calls that took less makes a block shorter by half at most: no burst.
    const costMs = Math.min(
      Math.max(plannedMs + owedMs, plannedMs / 2, blockCostMs(limits, calls, 0)),
      Math.max(plannedMs, LIMIT_MS),
    );
    return { calls, plannedMs, costMs, isBound: calls === most };
  };

  const warn = (what: string, error: unknown) => log.warn(what, { model, error });
  const pauseMs = (firstMs: number, longestMs: number, times: number) =>
    (0.1 + 0.9 * random.next()) * Math.min(longestMs, firstMs * 2 ** Math.min(times, 10));

  async function take({ calls, plannedMs, costMs, isBound }: Wanted, from: number): Promise<void> {
    try {
      const taken = await callShares.take({ model, record: from, holder, aheadMs, costMs }, clock);
      failures = 0;
      if (taken) {
        ({ parts } = taken);
        aheadMs = Math.max(aheadMs, taken.aheadMs);
      }
      if (taken?.taken) {
        refusals = 0;
        if (!isRated) {
          comeAt = clock.now() + PRESENCE_MS;
          return;
        }
        comeAt = 0;
        wasBound = isBound;
        owedMs -= costMs - plannedMs;
        blocks.push({
          ...{ record: from, at: taken.from - taken.aheadMs, to: taken.to },
          ...{ everyMs: costMs / calls, takenMs: plannedMs / calls, left: calls },
        });
        return;
      }
      const at = taken ? taken.comeAt - taken.aheadMs : 0;
      comeAt = Math.max(at, clock.now()) + pauseMs(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, refusals++);
    } catch (error) {
      comeAt = clock.now() + pauseMs(FIRST_FAULT_PAUSE_MS, LONGEST_FAULT_PAUSE_MS, failures++);
      warn('share of a limit not taken', error);
    }
  }

  return {
    opensAt(now) {
      if (inFlight >= places()) return Number.POSITIVE_INFINITY;
      if (!isRated) return parts === undefined ? waiting(now) : now;
      lapse(now);
      if (blocks.length === 0) return waiting(now);
      return Math.max(now, Math.ceil(earliest().at / TICK_MS) * TICK_MS);
    },

    prepare(now) {
      // A clock that was set back: what was learned by the old one says nothing any more.
      if (now < lastAsked - HORIZON_MS) {
        blocks = [];
        comeAt = 0;
      }
      lastAsked = now;
      if (underWay !== undefined || now < comeAt) return undefined;
      lapse(now);
      const block = isRated ? nextBlock(now) : NO_CALLS;
      if (!block) return undefined;
      const from = record;
      record = (record + 1) % records;
      underWay = take(block, from).finally(() => {
        underWay = undefined;
      });
      return underWay;
    },

    began(call) {
      const block = blocks.length > 0 ? earliest() : undefined;
      inFlight++;
      call.takenMs = block?.takenMs ?? 0;
      if (!block) return;
      block.at += block.everyMs;
      block.left--;
      blocks = blocks.filter((each) => each.left > 0);
    },

    ended(call, { usage }) {
      inFlight--;
      if (!countsTokens || !usage) return;
      const tokens = usage.inputTokens + usage.outputTokens;
      estimate.counted(call.line.call, tokens);
      owedMs = Math.max(-MOST_TO_THE_GOOD_MS, owedMs + blockCostMs(limits, 1, tokens) - (call.takenMs ?? 0));
    },

    async close() {
      const over = new AbortController();
      const late = clock.sleep(CLOSE_MS, over.signal).catch(() => undefined);
      await Promise.race([giveBack(), late]);
      over.abort();
    },
  };

  async function giveBack(): Promise<void> {
    await underWay;
    const [last] = blocks.sort((a, b) => b.to - a.to);
    const unusedMs = last ? last.left * last.everyMs : 0;
    blocks = [];
    if (unusedMs === 0 && owedMs <= 0) return;
    const back = { unusedMs, owedMs: Math.max(0, owedMs), ...(last && { to: last.to }) };
    try {
      await callShares.giveBack({ model, record: last?.record ?? record, holder, aheadMs, ...back }, clock);
    } catch (error) {
      warn('share of a limit not given back', error);
    }
  }

  /** Without a place: when it is worth asking. Not before what was asked is answered. */
  function waiting(now: number): number {
    return underWay !== undefined ? Number.POSITIVE_INFINITY : Math.max(comeAt, othersOpenAt(now), now + LEAD_MS);
  }
}
