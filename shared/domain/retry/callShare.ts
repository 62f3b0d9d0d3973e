/**
 * A model's configured limits, shared by all workers: each project has a timeline, and a worker that wants to call moves
 * its project's end of it on by what its block of calls costs. Whatever is taken lies one after the other, so that no
 * minute has more than the limit.
 *
 *   now ─────────┤ block of worker 1 ├┤ block of worker 2 ├──► freeAt          (nobody takes beyond `HORIZON_MS`)
 */
export type ModelLimits = {
  requests_per_minute?: number | undefined;
  tokens_per_minute?: number | undefined;
};

/** So far ahead of now may be taken: a project that comes in waits no longer for its share. */
export const HORIZON_MS = 2_000;
/** A project that took nothing for this long is not counted among those that share the model. */
export const ACTIVE_MS = 30_000;
/** A block is about so much of the model's time… */
const BLOCK_MS = 1_000;
/** …in this many calls at most: more than that would be sent in no better order. */
const MAX_BLOCK_CALLS = 100;

const MINUTE_MS = 60_000;

/** Milliseconds of the model's whole time that one call of so many tokens takes. */
export function callCostMs(limits: ModelLimits, tokens: number): number {
  const { requests_per_minute: requests, tokens_per_minute: tokensPerMinute } = limits;
  return Math.max(
    requests === undefined ? 0 : MINUTE_MS / requests,
    tokensPerMinute === undefined ? 0 : (tokens * MINUTE_MS) / tokensPerMinute,
  );
}

/** Calls in a block, at that cost each. */
export function blockCalls(costMs: number): number {
  return Math.max(1, Math.min(MAX_BLOCK_CALLS, Math.floor(BLOCK_MS / Math.max(costMs, 1))));
}
