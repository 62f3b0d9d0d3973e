import { ulid } from 'ulid';
import type { BatchDetail, BatchHead, Plan } from '../../shared/domain/batch.ts';
import type { Control } from '../../shared/domain/control.ts';
import type { SegmentRef, ShardCommit, ShardRange, ShardRecord } from '../../shared/domain/shard.ts';

/** Builders of records: whole and plain, each field open to the test that cares about it. */

const CREATED_AT = Date.parse('2026-01-15T10:30:00.000Z');
const DAY_MS = 86_400_000;

export function aHead(fields: Partial<BatchHead> = {}): BatchHead {
  const createdAt = fields.createdAt ?? CREATED_AT;
  return {
    projectId: `project-${ulid()}`,
    batchId: `batch_${ulid(createdAt)}`,
    name: 'Product descriptions',
    type: 'COMPLETIONS',
    status: 'validating',
    callbackUrl: 'https://example.com/hook',
    inputFileUrl: 'https://example.com/input.jsonl',
    onInvalidLine: 'fail',
    completionWindow: '24h',
    createdAt,
    updatedAt: createdAt,
    expiresAt: createdAt + DAY_MS,
    enteredAt: { validating: createdAt },
    requestCounts: { total: 0, completed: 0, failed: 0 },
    attempt: 1,
    idleAttempts: 0,
    committedAtAttempt: 0,
    notification: 0,
    version: 0,
    ...fields,
  };
}

/** All that `BatchStore.create` wants for a head. */
export function aBatch(
  fields: Partial<BatchHead> = {},
  rest: { detail?: Partial<BatchDetail>; control?: Partial<Control>; dueAt?: number } = {},
): { head: BatchHead; detail: BatchDetail; control: Control; dueAt: number } {
  const head = aHead(fields);
  return {
    head,
    detail: { batchId: head.batchId, description: null, metadata: {}, errors: [], ...rest.detail },
    control: { action: 'run', deadline: head.expiresAt, ...rest.control },
    dueAt: rest.dueAt ?? head.createdAt + 120_000,
  };
}

export function aPlan(fields: Partial<Plan> = {}): Plan {
  return {
    key: 'shards/p/b/1-plan.jsonl',
    shards: 2,
    lines: 100,
    runnable: 100,
    input: { bytes: 5_000, sha256: 'a'.repeat(64) },
    ...fields,
  };
}

export function aRange(fields: Partial<ShardRange> = {}): ShardRange {
  const lines = fields.lines ?? 10;
  return { shard: 0, start: 0, end: 1_000, firstLine: 1, lines, runnable: lines, ...fields };
}

export function aSegment(key: string, fields: Partial<SegmentRef> = {}): SegmentRef {
  return { key, bytes: 100, first: 1, last: 1, ...fields };
}

/** A commit of one line on top of the record that a worker holds. */
export function aCommit(record: ShardRecord, fields: Partial<ShardCommit> = {}): ShardCommit {
  return {
    shard: record.shard,
    epoch: record.epoch,
    commits: record.commits,
    segment: aSegment(`parts/${record.shard}/${record.epoch}-${record.commits}-${ulid()}.seg`),
    done: record.done,
    completed: 1,
    failed: 0,
    usage: { inputTokens: 3, outputTokens: 2 },
    attempts: {},
    ...fields,
  };
}
