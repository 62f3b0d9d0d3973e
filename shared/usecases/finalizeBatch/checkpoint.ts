import * as z from 'zod';
import { BatchErrorSchema, OutcomeSchema, UsageSchema } from '../../domain/batch.ts';
import type { FileStore } from '../../ports.ts';
import { type SuspendedFile, SuspendedFileSchema } from './resultFile.ts';

/** What gathering started with: the reason for lines that were not run stays the same for all of them. */
const GatheringSchema = z.object({ outcome: OutcomeSchema, usage: UsageSchema });
export type Gathering = z.infer<typeof GatheringSchema>;

/** How far the merge has come. */
const ProgressSchema = z.object({
  /** The shard at work, and the last line that was dealt with. */
  shard: z.int(),
  afterLine: z.int(),
  /** Bytes read of the segment of bad lines. */
  invalidAt: z.int(),
  completed: z.int(),
  failed: z.int(),
  errors: z.array(BatchErrorSchema),
});
export type Progress = z.infer<typeof ProgressSchema>;

const CheckpointSchema = z.object({
  version: z.literal(1),
  gathering: GatheringSchema,
  progress: ProgressSchema,
  output: SuspendedFileSchema.optional(),
  errors: SuspendedFileSchema.optional(),
});
type Checkpoint = z.output<typeof CheckpointSchema>;

/** Two tails of a part each (under 5 MiB, in base64) and a few kilobytes. */
const MAX_BYTES = 64 * 1024 * 1024;

export async function saveCheckpoint(
  files: Pick<FileStore, 'put'>,
  key: string,
  state: {
    gathering: Gathering;
    progress: Progress;
    output: SuspendedFile | undefined;
    errors: SuspendedFile | undefined;
  },
): Promise<void> {
  await files.put(key, JSON.stringify({ version: 1, ...state } satisfies z.input<typeof CheckpointSchema>));
}

/** Undefined where it is gone: then the merge starts anew, which gives the same bytes. */
export async function loadCheckpoint(
  files: Pick<FileStore, 'readSmall'>,
  key: string,
): Promise<Checkpoint | undefined> {
  const body = await files.readSmall(key, MAX_BYTES);
  return body && CheckpointSchema.parse(JSON.parse(Buffer.from(body).toString()));
}
