import { hash } from 'node:crypto';

/**
 * A model's configured limits, shared by all workers of all batches. The model's time is one line: whoever wants to call
 * takes a block of it, behind what others have taken and not far ahead of now, and begins its calls evenly within. So
 * the calls lie one after the other whoever makes them, and no minute has more than the limit.
 *
 *   now ─────────┤ block of worker 1 ├┤ block of worker 2 ├──► freeAt          (nobody takes beyond `HORIZON_MS`)
 *
 * Beside it each batch has a line of its own, which a block moves on by its length times the parts that the model is
 * shared into: who has used up its part waits, unless nobody else has taken what is due now. Projects have equal parts,
 * and so have the batches of one project.
 *
 * These functions decide on a record as it was read; the store writes what they answer unless the record has changed.
 */
export type ModelLimits = {
  requests_per_minute?: number | undefined;
  tokens_per_minute?: number | undefined;
  calls_in_flight?: number | undefined;
};

export type CallShares = {
  /** The newest time that any taker's clock told: who finds its own clock behind goes by this one. */
  at: number;
  /** Up to when the model's time is taken. */
  freeAt: number;
  holders: Readonly<Record<string, ShareHolder>>;
};
/** A batch that calls the model: up to when its part is taken, and when it last asked. */
export type ShareHolder = { freeAt: number; seenAt: number };

/** Times are those of the record; `aheadMs` is how far they are ahead of the taker's own clock. */
export type TakenBlock = { parts: number; aheadMs: number } & (
  | { taken: true; from: number; to: number }
  | { taken: false; comeAt: number }
);

/** So far ahead of now may be taken: who comes in waits no longer for its part. */
export const HORIZON_MS = 1_000;
/** A timeline that has fallen behind by less loses nothing: takers come back with jitter. */
const CREDIT_MS = 1_000;
/** Who has had less than its part for a while may catch up so much: one of a few workers comes back no later. */
const PART_CREDIT_MS = 5_000;
/** A call begins at most this long after its place in the block, or not in this block. More than `CREDIT_MS`. */
export const LATE_MS = 2_000;
/** A batch that has neither asked nor had anything for this long is not counted any more. */
export const ACTIVE_MS = 30_000;
/** Who only waits says so this often, so that it goes on being counted. */
export const PRESENCE_MS = 10_000;

/**
 * The limit of a minute is spread over this long: a call may begin late, and clocks that are in step are so only to some
 * hundred milliseconds. Then no 60 s in a row have more than the limit, at the price of 4 % of it.
 */
export const LIMIT_MS = 60_000 + LATE_MS + 500;

/** What calls take is known only when they have ended, and is made up for after that. */
const TOKEN_MARGIN = 1.05;

/** A block is about so much of the batch's part of the model's time… */
const BLOCK_MS = 1_000;
/** …but never less than this share of the model's own, however many share it: else the record is written too often. */
const LEAST_SHARE = 1 / 5;
/** More calls than this would be sent in no better order. */
const MAX_BLOCK_CALLS = 100;

/**
 * DynamoDB takes 1,000 write units a second for one partition, and a write that fails its condition costs as much. A
 * record has some 100 bytes and 50 for each batch that calls, so a block costs one unit, or five where a hundred batches
 * do. From reading it to writing it pass about 10 ms: at 25 blocks a second one try in five meets another's and is made
 * again. 250 calls a second are 25 blocks of ten, or 60 of four where each worker's calls are slow: 60 to 300 units and
 * as many reads. Above that the limit is spread over several records, each with its part of it; takers go round.
 */
const RECORD_CALLS_PER_SECOND = 250;
const MAX_RECORDS = 40;
/** What a call has where only tokens are limited: for the number of records alone. */
const TYPICAL_TOKENS = 500;

/** The limit's records: the same number for whoever knows the limits. */
export function shareRecords({ requests_per_minute, tokens_per_minute }: ModelLimits): number {
  const perMinute = Math.min(
    requests_per_minute ?? Number.POSITIVE_INFINITY,
    (tokens_per_minute ?? Number.POSITIVE_INFINITY) / TYPICAL_TOKENS,
  );
  if (perMinute === Number.POSITIVE_INFINITY) return 1;
  return Math.min(MAX_RECORDS, Math.max(1, Math.ceil(perMinute / 60 / RECORD_CALLS_PER_SECOND)));
}

/** Milliseconds of one record's time that so many calls with so many tokens take; 0 where no rate is limited. */
export function blockCostMs(limits: ModelLimits, calls: number, tokens: number): number {
  const { requests_per_minute: requests, tokens_per_minute: tokensPerMinute } = limits;
  const ofCalls = requests === undefined ? 0 : (calls * LIMIT_MS) / requests;
  const ofTokens = tokensPerMinute === undefined ? 0 : (tokens * TOKEN_MARGIN * LIMIT_MS) / tokensPerMinute;
  // A call of more tokens than a minute may have keeps to no limit: it has the whole minute.
  return Math.max(ofCalls, Math.min(ofTokens, LIMIT_MS)) * shareRecords(limits);
}

/** How many of the next calls, whose tokens these are, make a block; at least one. */
export function callsOfBlock(limits: ModelLimits, parts: number, tokens: readonly number[], most: number): number {
  const lengthMs = BLOCK_MS * Math.max(LEAST_SHARE, 1 / parts);
  let sum = 0;
  for (let calls = 0; calls < Math.min(tokens.length, most, MAX_BLOCK_CALLS); calls++) {
    sum += tokens[calls] ?? 0;
    if (blockCostMs(limits, calls + 1, sum) > lengthMs) return Math.max(1, calls);
  }
  return Math.max(1, Math.min(tokens.length, most, MAX_BLOCK_CALLS));
}

const PROJECT_DIGITS = 10;

/** A batch's name in the record: short, since there may be many, and alike for the batches of a project. */
export function holderKey({ projectId, batchId }: { projectId: string; batchId: string }): string {
  return digest(projectId) + digest(batchId);
}
const digest = (text: string) => hash('sha256', text, 'hex').slice(0, PROJECT_DIGITS);
const projectOf = (key: string) => key.slice(0, PROJECT_DIGITS);

/** The parts that the model is shared into, as this batch sees it: projects × batches of its own project. */
function partsOf(holders: CallShares['holders'], key: string): number {
  const projects = new Set([projectOf(key)]);
  let batches = key in holders ? 0 : 1;
  for (const other of Object.keys(holders)) {
    projects.add(projectOf(other));
    if (projectOf(other) === projectOf(key)) batches++;
  }
  return projects.size * batches;
}

export type Ask = {
  /** The batch's `holderKey`. */
  key: string;
  /** Of the record's time; 0 where only the number of parts is wanted. */
  costMs: number;
  /** By the taker's own clock, after the record was read. */
  now: number;
  /** As the last answer had it. */
  aheadMs: number;
};

/** `shares`: what is to be written, if anything. Without a record nothing has been taken yet. */
export function takeBlock(found: CallShares | undefined, ask: Ask): { block: TakenBlock; shares?: CallShares } {
  const { key, costMs } = ask;
  const { at, aheadMs, freeAt, holders } = asOf(found, ask);
  const parts = partsOf(holders, key);
  const own = holders[key];
  const ownFreeAt = own ? Math.max(own.freeAt, at - PART_CREDIT_MS) : at - CREDIT_MS;
  const changed = (ownAt: number, takenTo: number): CallShares => ({
    at,
    freeAt: takenTo,
    holders: { ...holders, [key]: { freeAt: ownAt, seenAt: at } },
  });
  const isPresent = own !== undefined && own.seenAt > at - PRESENCE_MS;
  const presence = isPresent ? {} : { shares: changed(ownFreeAt, freeAt) };

  if (costMs === 0) return { block: { taken: true, from: at, to: at, parts, aheadMs }, ...presence };
  if (freeAt > at + HORIZON_MS)
    return { block: { taken: false, comeAt: freeAt - HORIZON_MS, parts, aheadMs }, ...presence };
  const isInPart = parts === 1 || ownFreeAt <= at + HORIZON_MS;
  // What is due now and nobody has taken goes to whoever asks, and is not held against it.
  if (!isInPart && freeAt > at)
    return { block: { taken: false, comeAt: Math.min(ownFreeAt - HORIZON_MS, freeAt), parts, aheadMs }, ...presence };
  const to = freeAt + costMs;
  return {
    block: { taken: true, from: freeAt, to, parts, aheadMs },
    shares: changed(isInPart ? ownFreeAt + costMs * parts : ownFreeAt, to),
  };
}

export type Return = {
  key: string;
  now: number;
  aheadMs: number;
  /** The end of a block whose last `unusedMs` are given back, unless others have taken behind it. */
  to?: number;
  unusedMs: number;
  /** What the calls turned out to cost more than was taken for them. */
  owedMs: number;
};

/** Undefined where nothing changes. */
export function returnBlock(found: CallShares | undefined, back: Return): CallShares | undefined {
  if (!found) return undefined;
  const { at, holders } = asOf(found, back);
  const own = holders[back.key];
  // The end of a block goes over the wire as a decimal number.
  const isLast = back.to !== undefined && Math.abs(found.freeAt - back.to) < 1;
  const ms = Math.min(LIMIT_MS, back.owedMs) - (isLast ? back.unusedMs : 0);
  if (ms === 0) return undefined;
  const freeAt = found.freeAt + ms;
  if (!own) return { at, freeAt, holders };
  const ownFreeAt = own.freeAt + ms * partsOf(holders, back.key);
  return { at, freeAt, holders: { ...holders, [back.key]: { ...own, freeAt: ownFreeAt } } };
}

/** The record as it counts now: by the clock that is furthest ahead, without the batches that are gone. */
function asOf(found: CallShares | undefined, { now, aheadMs }: { now: number; aheadMs: number }) {
  const at = Math.max(now + aheadMs, found?.at ?? 0);
  const freeAt = Math.max(found?.freeAt ?? 0, at - CREDIT_MS);
  const holders = Object.fromEntries(
    Object.entries(found?.holders ?? {}).filter(([, holder]) => {
      return Math.max(holder.freeAt, holder.seenAt) > at - ACTIVE_MS;
    }),
  );
  return { at, aheadMs: at - now, freeAt, holders };
}
