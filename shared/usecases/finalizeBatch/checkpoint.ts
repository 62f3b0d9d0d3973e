import * as z from 'zod';
import { BatchErrorSchema, OutcomeSchema, UsageSchema } from '../../domain/batch.ts';
import type { FileStore, Invocation } from '../../ports.ts';
import { Base64, SuspendedFileSchema } from './resultFile.ts';

/** What gathering started with: the reason for lines that were not run stays the same for all of them. */
const GatheringSchema = z.object({
  /** The batch's `gathering` from here on, or another has begun since. */
  number: z.int().positive(),
  outcome: OutcomeSchema,
  usage: UsageSchema,
  /** The results that a retry was to take over are gone. */
  keptGone: z.boolean(),
  /** Gone from the bucket: the plan, the segment of the bad lines. */
  planGone: z.boolean(),
  invalidGone: z.boolean(),
});
export type Gathering = z.infer<typeof GatheringSchema>;

/** How far the merge has come. */
const ProgressSchema = z.object({
  /** The shard at work, and the last line that was dealt with. */
  shard: z.int(),
  afterLine: z.int(),
  /** Bytes read of the segment of bad lines. */
  invalidAt: z.int(),
  /** Results taken over from the batch that this one repeats, and bytes read of its output file. */
  kept: z.int(),
  keptAt: z.int(),
  completed: z.int(),
  failed: z.int(),
  errors: z.array(BatchErrorSchema),
});
export type Progress = z.infer<typeof ProgressSchema>;

/** A merge in the middle, as one invocation leaves it to the next. */
export const MergeCheckpointSchema = z.object({
  version: z.literal(1),
  progress: ProgressSchema,
  output: SuspendedFileSchema.optional(),
  errors: SuspendedFileSchema.optional(),
});
export type MergeCheckpoint = z.output<typeof MergeCheckpointSchema>;

/** `lines`: the index of lines so far, about a byte a line. */
export const FinalizeCheckpointSchema = MergeCheckpointSchema.extend({ gathering: GatheringSchema, lines: Base64 });

/** Time kept back to write a checkpoint: two blocks and two tails go to S3. A quarter of it where there is little. */
const RESERVE_MS = 30_000;

/** Tells when an invocation has to leave its checkpoint; to be called at its start. */
export function handOverClock(invocation: Invocation): () => boolean {
  const reserveMs = Math.min(RESERVE_MS, invocation.remainingMs() / 4);
  return () => invocation.remainingMs() < reserveMs;
}

/** Two tails of a part each (under 5 MiB), 3 MB of index at most, all in base64, and a few kilobytes. */
const MAX_BYTES = 64 * 1024 * 1024;

export async function saveCheckpoint<State extends z.input<typeof MergeCheckpointSchema>>(
  files: Pick<FileStore, 'put'>,
  key: string,
  state: State,
): Promise<void> {
  await files.put(key, JSON.stringify(state));
}

/** Undefined where it is gone, or other code has left it: then the merge starts anew, which gives the same bytes. */
export async function loadCheckpoint<S extends typeof MergeCheckpointSchema>(
  files: Pick<FileStore, 'readSmall'>,
  key: string,
  schema: S,
): Promise<z.output<S> | undefined> {
  const body = await files.readSmall(key, MAX_BYTES);
  return body && schema.safeParse(JSON.parse(Buffer.from(body).toString())).data;
}
