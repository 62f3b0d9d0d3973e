import { KEY_PREFIXES } from '../domain/objectKeys.ts';

/**
 * How long what lies in the bucket stays. The stack makes the bucket's lifecycle rules of it, and a retry is refused
 * where they would take from it what it reads. In days; of what a stage can set, the longest.
 */
export const KEEP_DAYS = 30;
export const UPLOAD_DAYS = 7;
const WINDOW_DAYS = 7;
/** What a batch may take after its window: grace, attempts after a fault, Finalize itself. */
const GATHERING_DAYS = 1;
/** From a batch's creation to its end. */
const LIFE_DAYS = WINDOW_DAYS + GATHERING_DAYS;

/**
 * Until S3 deletes what starts with each prefix. A batch can be retried as long as its files are offered, and the retry
 * reads its input and its files until its own end. Parts and shard lists outlive the longest window twice.
 */
export const EXPIRY_DAYS = {
  uploads: UPLOAD_DAYS + LIFE_DAYS + KEEP_DAYS + LIFE_DAYS,
  inputs: LIFE_DAYS + KEEP_DAYS + LIFE_DAYS,
  // S3 dates what was uploaded in parts from the upload's start (S3 user guide, "Working with object metadata").
  outputs: GATHERING_DAYS + KEEP_DAYS + LIFE_DAYS,
  parts: 14,
  shards: 14,
  snapshots: 1,
} as const satisfies Record<keyof typeof KEY_PREFIXES, number>;

const DAY_MS = 86_400_000;
export const GATHERING_MS = GATHERING_DAYS * DAY_MS;

/** From when on the bucket may delete a file of that key that was written at `writtenAt`. */
export function deletedFrom(key: string, writtenAt: number): number {
  // The keys are those of `KEY_PREFIXES`.
  for (const [kind, days] of Object.entries(EXPIRY_DAYS))
    if (key.startsWith(KEY_PREFIXES[kind as keyof typeof KEY_PREFIXES])) return writtenAt + days * DAY_MS;
  throw new Error(`No file of the bucket has the key ${key}`);
}
