import * as z from 'zod';
import { UsageSchema } from './batch.ts';

/**
 * A shard: one byte range of the input that one worker runs at a time. Bit `i` of a bitmap stands for the physical
 * line `firstLine + i`.
 */
export const ShardRangeSchema = z.object({
  /** Number of the shard, from 0. */
  shard: z.int().nonnegative(),
  /** Byte range in the input, end exclusive. */
  start: z.int().nonnegative(),
  end: z.int().nonnegative(),
  /** 1-based physical number of the first line, and how many physical lines the range spans. */
  firstLine: z.int().positive(),
  lines: z.int().positive(),
  /** How many of them are to be run: the rest are blank or bad. */
  runnable: z.int().positive(),
  /** Base64 bitmap of the lines that are not to be run; absent where all are. */
  skip: z.string().optional(),
});
export type ShardRange = z.infer<typeof ShardRangeSchema>;

/** A committed part in S3: results of some lines of one shard, sorted by line, holes allowed. */
export const SegmentRefSchema = z.object({
  key: z.string(),
  bytes: z.int().nonnegative(),
  /** Physical lines of the first and last result inside. */
  first: z.int().positive(),
  last: z.int().positive(),
});
export type SegmentRef = z.infer<typeof SegmentRefSchema>;

/** The commit protocol's record of one shard. Who does not hold the newest `epoch` commits nothing. */
export const ShardRecordSchema = z.object({
  batchId: z.string(),
  shard: z.int().nonnegative(),
  /** Goes up each time a worker takes the shard. */
  epoch: z.int().nonnegative(),
  /** Commits over all epochs: makes a commit whose answer was lost recognizable. */
  commits: z.int().nonnegative(),
  /** Bitmap of the lines that are finished or not to be run. */
  done: z.instanceof(Uint8Array),
  completed: z.int().nonnegative(),
  failed: z.int().nonnegative(),
  usage: UsageSchema,
  segments: z.array(SegmentRefSchema),
  /** S3 keys of JSON lists of earlier `SegmentRef`s, folded away after `MAX_INLINE_SEGMENTS`. */
  manifests: z.array(z.string()),
  /** Attempts used up by unfinished lines: index in the shard → attempts. */
  attempts: z.record(z.string(), z.int().positive()),
  /** Workers in a row that took the shard and died without a commit, the one at work included (`workerDeaths.ts`). */
  deaths: z.int().nonnegative(),
  /** Turns that ended in order and finished no line: the model let nothing through, or its calls take long. */
  idleTurns: z.int().nonnegative().default(0),
  /** Set by Finalize: nothing can be committed any more. */
  sealed: z.boolean(),
});
export type ShardRecord = z.infer<typeof ShardRecordSchema>;

/** After so many segments the list is folded into an S3 manifest, so that the record stays small. */
export const MAX_INLINE_SEGMENTS = 32;

/** Keys a batch's shard records are spread over, so that no partition is hot. */
export const SHARD_PARTITIONS = 8;

/** What one commit adds to a shard's record. */
export type ShardCommit = {
  shard: number;
  epoch: number;
  /** The record's `commits` before this one. */
  commits: number;
  segment: SegmentRef;
  /** The whole bitmap after the commit. */
  done: Uint8Array;
  /** Added to the record's. */
  completed: number;
  failed: number;
  usage: { inputTokens: number; outputTokens: number };
  /** Replaces the record's. */
  attempts: Record<string, number>;
  /** Replaces the record's; 0 unless given. */
  deaths?: number;
  /** When given, replaces `segments` by none and appends this manifest's key; the segment is inside the manifest. */
  foldInto?: string;
};

export function isBitSet(bitmap: Uint8Array, index: number): boolean {
  return (((bitmap[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;
}

export function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >> 3] = (bitmap[index >> 3] ?? 0) | (1 << (index & 7));
}

/** The bitmap a shard starts with: blank and bad lines count as done. */
export function initialBitmap(range: ShardRange): Uint8Array {
  const bitmap = new Uint8Array(Math.ceil(range.lines / 8));
  if (range.skip !== undefined) bitmap.set(Buffer.from(range.skip, 'base64').subarray(0, bitmap.length));
  return bitmap;
}

/** True where every line of the range is finished. */
export function isShardDone(range: Pick<ShardRange, 'lines'>, done: Uint8Array): boolean {
  for (let index = 0; index < range.lines; index++) if (!isBitSet(done, index)) return false;
  return true;
}
