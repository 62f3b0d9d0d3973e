import type { LineTable } from './lines/lineTable.ts';
import { type ShardRange, setBit } from './shard.ts';

export type ShardLimits = {
  /** Physical lines that a shard may span. */
  maxLines: number;
  maxBytes: number;
  /** A small batch is cut so that so many workers share it, but not into shards of fewer than `minLines`. */
  maxWorkers: number;
  minLines: number;
};

/**
 * Lines that run in one shard, where their bytes and what lies between them allow it: as few rounds of all workers as
 * `maxLines` allows, and the same number of lines for each, so that none stands idle while others run a last shard.
 */
export function linesPerShard(runnable: number, { maxLines, minLines, maxWorkers }: ShardLimits): number {
  const rounds = Math.max(1, Math.ceil(runnable / (maxWorkers * maxLines)));
  return Math.min(maxLines, Math.max(minLines, Math.ceil(runnable / (rounds * maxWorkers))));
}

/**
 * Cuts a batch into shards, in the file's order. A shard starts and ends with a line that is to be run; others
 * in between are in `skip`, those outside belong to no shard. A line over `maxBytes` is a shard of its own.
 */
export function* cutShards(lines: LineTable, limits: ShardLimits): Generator<ShardRange, void, undefined> {
  const target = linesPerShard(lines.runnable, limits);
  let shard = 0;
  let open: OpenShard | undefined;
  for (let at = 0; at < lines.size; at++) {
    if (!lines.isRunnable(at)) continue;
    if (open && (open.members === target || !fits(lines, open, at, limits))) {
      yield close(lines, open, shard++);
      open = undefined;
    }
    open = open ? { ...open, last: at, members: open.members + 1 } : { first: at, last: at, members: 1 };
  }
  if (open) yield close(lines, open, shard);
}

/** Positions in the table of the first and the last line to be run, and how many such lines there are. */
type OpenShard = { first: number; last: number; members: number };

function fits(lines: LineTable, open: OpenShard, at: number, limits: ShardLimits): boolean {
  const span = lines.line(at) - lines.line(open.first) + 1;
  return span <= limits.maxLines && lines.end(at) - lines.start(open.first) <= limits.maxBytes;
}

function close(lines: LineTable, { first, last, members }: OpenShard, shard: number): ShardRange {
  const firstLine = lines.line(first);
  const span = lines.line(last) - firstLine + 1;
  return {
    shard,
    start: lines.start(first),
    end: lines.end(last),
    firstLine,
    lines: span,
    runnable: members,
    ...(members === span ? {} : { skip: skipBitmap(lines, first, last, span) }),
  };
}

/** Base64; a set bit is a line that is blank, bad or left out. */
function skipBitmap(lines: LineTable, first: number, last: number, span: number): string {
  const firstLine = lines.line(first);
  const runs = new Uint8Array(Math.ceil(span / 8));
  for (let at = first; at <= last; at++) if (lines.isRunnable(at)) setBit(runs, lines.line(at) - firstLine);
  const skip = new Uint8Array(runs.length);
  for (let index = 0; index < span; index++)
    if (((runs[index >> 3] ?? 0) & (1 << (index & 7))) === 0) setBit(skip, index);
  return Buffer.from(skip).toString('base64');
}
