import type { BatchRef } from './batch.ts';

/**
 * Keys in the bucket. They start with their kind, so that lifecycle rules can tell them apart; what a step writes
 * carries the attempt, or the gathering's own number, and the record says which one counts.
 */
export const KEY_PREFIXES = {
  uploads: 'uploads/',
  inputs: 'inputs/',
  shards: 'shards/',
  parts: 'parts/',
  outputs: 'outputs/',
  snapshots: 'snapshots/',
} as const;

const of = (prefix: string, { projectId, batchId }: BatchRef) => `${prefix}${projectId}/${batchId}/`;

export const objectKeys = {
  upload: (projectId: string, fileId: string) => `${KEY_PREFIXES.uploads}${projectId}/${fileId}`,
  input: (ref: BatchRef, attempt: number) => `${of(KEY_PREFIXES.inputs, ref)}${attempt}.jsonl`,
  /** The plan: every shard of the batch. */
  plan: (ref: BatchRef, attempt: number) => `${of(KEY_PREFIXES.shards, ref)}${attempt}-plan.jsonl`,
  /** What one map run is given: the shards that are not done. */
  mapInput: (ref: BatchRef, attempt: number, round: number) =>
    `${of(KEY_PREFIXES.shards, ref)}${attempt}-${round}-shards.jsonl`,
  /** What the newest planning round found done, so that the next one sees whether anything was. */
  planProgress: (ref: BatchRef, attempt: number) => `${of(KEY_PREFIXES.shards, ref)}${attempt}-progress.json`,
  /** Where the map run's ResultWriter writes. */
  mapResults: (ref: BatchRef) => `${of(KEY_PREFIXES.shards, ref)}results`,
  invalid: (ref: BatchRef, attempt: number) => `${of(KEY_PREFIXES.parts, ref)}${attempt}-invalid.seg`,
  /** A key that is never reused: epoch and commit are unique to one worker, `nonce` to one try of it. */
  segment: (ref: BatchRef, shard: number, epoch: number, commit: number, nonce: string) =>
    `${of(KEY_PREFIXES.parts, ref)}${shard}/${epoch}-${commit}-${nonce}.seg`,
  manifest: (ref: BatchRef, shard: number, epoch: number, commit: number, nonce: string) =>
    `${of(KEY_PREFIXES.parts, ref)}${shard}/${epoch}-${commit}-${nonce}.manifest.json`,
  checkpoint: (ref: BatchRef, attempt: number, step: string) =>
    `${of(KEY_PREFIXES.parts, ref)}${attempt}-${step}.checkpoint`,
  parts: (ref: BatchRef) => of(KEY_PREFIXES.parts, ref),
  output: (ref: BatchRef, gathering: number) => `${of(KEY_PREFIXES.outputs, ref)}${gathering}-output.jsonl`,
  errors: (ref: BatchRef, gathering: number) => `${of(KEY_PREFIXES.outputs, ref)}${gathering}-errors.jsonl`,
  lineIndex: (ref: BatchRef, gathering: number) => `${of(KEY_PREFIXES.outputs, ref)}${gathering}-lines`,
  snapshot: (ref: BatchRef, snapshot: number, file: 'output' | 'errors') =>
    `${of(KEY_PREFIXES.snapshots, ref)}${snapshot}-${file}.jsonl`,
  snapshotCheckpoint: (ref: BatchRef, snapshot: number) => `${of(KEY_PREFIXES.snapshots, ref)}${snapshot}.checkpoint`,
} as const;

/**
 * S3 takes `.` and `..` in a key for names like any. What resolves paths on the way to it does not, and where the bucket
 * stands in the path (its name has dots) `..` would lead into another one.
 */
export function hasDotSegment(key: string): boolean {
  return key.split('/').some((segment) => segment === '.' || segment === '..');
}
