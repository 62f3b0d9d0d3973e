/**
 * What a worker makes of those that died before it on the same shard: each died in the middle of a turn, without
 * committing anything after that.
 *
 *   deaths   how the next worker runs
 *   0        as usual
 *   1        few lines at a time, each answer taken for the largest: it may have been many large ones at once
 *   2        one line at a time, each committed before the next is begun
 *   3, 4     the same; the first unfinished line is the one that the last worker ran alone when it died
 *   5        gives that line up: three workers died of it, and nothing else ran beside it
 *
 * A commit clears the record, since the shard got further: deaths that have nothing to do with a line (an outage, a
 * deployment) never add up to one. A worker that runs lines alone clears only what is about the line before: it keeps the
 * record at two (and itself) until it has passed the lines that the workers before it can have died of.
 */
const DEATHS_UNTIL_FEW = 1;
const DEATHS_UNTIL_ALONE = 2;
const DEATHS_OF_A_LINE = 3;

/** Lines that a worker holds at once, and commits at once, after one death. */
const FEW_LINES = 16;
/**
 * What a usual worker may hold when it dies, with a margin: 500 results in an open commit, and four lines for each of 64
 * places. Of a model that answers in milliseconds there may be more: then the shard gets a thousand lines on with each.
 */
const SUSPECTS = 1_000;
/** What one that holds few lines may hold, in memory and in an open commit, when it dies; with a margin. */
const SUSPECTS_OF_FEW = 3 * FEW_LINES;

export type Caution = {
  /** Lines held at once, and results a commit; undefined: the usual numbers. */
  linesAtOnce: number | undefined;
  /** Each answer is expected to be as large as any may be. */
  expectLargest: boolean;
  /** Each line is committed before the next is begun. */
  alone: boolean;
  /** The first unfinished line is given up. */
  giveUpFirst: boolean;
  /** The worker ends its turn after so many lines: the next one need not be as careful. */
  maxLines: number;
};

/** `deaths`: of workers before this one. */
export function cautionAfter(deaths: number): Caution {
  const few = deaths >= DEATHS_UNTIL_FEW;
  const alone = deaths >= DEATHS_UNTIL_ALONE;
  const giveUpFirst = deaths >= DEATHS_UNTIL_ALONE + DEATHS_OF_A_LINE;
  return {
    linesAtOnce: alone ? 1 : few ? FEW_LINES : undefined,
    expectLargest: few,
    alone,
    giveUpFirst,
    maxLines: giveUpFirst ? 1 : alone ? SUSPECTS_OF_FEW : few ? SUSPECTS : Number.POSITIVE_INFINITY,
  };
}

/** What a commit makes of the record: its own worker counts as dead until it ends in order. */
export function deathsAfterCommit({ alone }: Caution, isLast: boolean): number {
  return alone && !isLast ? DEATHS_UNTIL_ALONE + 1 : 0;
}

/** Attempts that a line has used up when it is given up. */
export const ATTEMPTS_OF_A_KILLER = DEATHS_OF_A_LINE;
