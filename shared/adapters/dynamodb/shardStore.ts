import { createHash, randomUUID } from 'node:crypto';
import * as z from 'zod';
import { TABLE } from '../../contract/table.ts';
import {
  initialBitmap,
  SHARD_PARTITIONS,
  type ShardCommit,
  type ShardRange,
  type ShardRecord,
  ShardRecordSchema,
} from '../../domain/shard.ts';
import type { ShardStore } from '../../ports.ts';
import type { Table } from './client.ts';
import type { Expression } from './expression.ts';
import { keys } from './keys.ts';
import { getRecord, parseRecord, queryRecords, type StoredRecord, updateRecord } from './records.ts';

/** `sealed` is there only once it is true, so that conditions ask whether it is there. */
const StoredShardSchema = ShardRecordSchema.extend({
  sealed: z.boolean().default(false),
  claimToken: z.string().optional(),
  /** Digests of the newest commits' segment keys, by commit number modulo `RECENT_COMMITS`. */
  recent: z.record(z.string(), z.string()),
});
type StoredShard = z.infer<typeof StoredShardSchema>;

/** How many commits back a commit is recognized for sure: at one each 15 s (DESIGN) four minutes. */
const RECENT_COMMITS = 16;

/** Claims that another worker's claim came between: each is a lost answer and a race at once. */
const CLAIM_TRIES = 5;

/** It cannot be told whether a commit counts: its part must stay, and the worker stops as if it had died. */
export class CommitUnknown extends Error {
  override readonly name = 'CommitUnknown';
}

/** The commit protocol (DESIGN "Records"): one record a shard, every change of it one conditional write. */
export function createShardStore(table: Table): ShardStore {
  return {
    async claim(batchId, range) {
      // A claim whose answer was lost is repeated by the SDK. Without the token it would take the epoch twice, which is
      // harmless, and count a death that nobody died: three of those would cost a line.
      for (let tries = 0; tries < CLAIM_TRIES; tries++) {
        const token = randomUUID();
        const claimed = await updateRecord(table, keys.shard(batchId, range.shard), (e) => ({
          set: [
            ...newShard(e, batchId, range),
            `${e.name('epoch')} = ${e.standingOr('epoch', 0)} + ${e.value(1)}`,
            `${e.name('deaths')} = ${e.standingOr('deaths', 0)} + ${e.value(1)}`,
            e.equals('claimToken', token),
          ],
          when: `${e.absent('sealed')} AND (${e.absent('claimToken')} OR ${e.name('claimToken')} <> ${e.value(token)})`,
        }));
        if (claimed) return recordOf(parseShard(claimed));
        const standing = await readShard(table, batchId, range.shard);
        if (standing?.sealed) return 'sealed';
        if (standing?.claimToken === token) return recordOf(standing);
        // The claim was made, and another worker has taken the shard since: take it back with a new one.
      }
      throw new Error(`Shard ${range.shard} of ${batchId} was taken by others ${CLAIM_TRIES} times in a row`);
    },

    async commit(batchId, commit) {
      const { shard, epoch, commits, segment } = commit;
      const committed = await updateRecord(table, keys.shard(batchId, shard), (e) => ({
        set: [
          e.equals('commits', commits + 1),
          e.equals(`recent.${slotOf(commits)}`, digestOf(segment.key)),
          e.equals('done', commit.done),
          e.equals('attempts', commit.attempts),
          e.equals('deaths', commit.deaths ?? 0),
          e.increase('completed', commit.completed),
          e.increase('failed', commit.failed),
          e.increase('usage.inputTokens', commit.usage.inputTokens),
          e.increase('usage.outputTokens', commit.usage.outputTokens),
          ...(commit.foldInto === undefined
            ? [append(e, 'segments', segment)]
            : [e.equals('segments', []), append(e, 'manifests', commit.foldInto)]),
        ],
        when: `${e.equals('epoch', epoch)} AND ${e.equals('commits', commits)} AND ${e.absent('sealed')}`,
      }));
      if (committed) return 'committed';
      const standing = await readShard(table, batchId, shard);
      return standing ? fateOf(commit, standing) : 'lost';
    },

    async release(batchId, shard, epoch, { attempts, idle = false } = {}) {
      if (attempts !== undefined) {
        await updateRecord(table, keys.shard(batchId, shard), (e) => ({
          set: [e.equals('attempts', attempts)],
          when: `${e.equals('epoch', epoch)} AND ${e.absent('sealed')}`,
        }));
      }
      // `released` makes a repeat after a lost answer do nothing: it would take back an older worker's death too.
      await updateRecord(table, keys.shard(batchId, shard), (e) => ({
        set: [
          e.increase('deaths', -1),
          e.equals('released', epoch),
          ...(idle ? [`${e.name('idleTurns')} = ${e.standingOr('idleTurns', 0)} + ${e.value(1)}`] : []),
        ],
        when: `${e.equals('epoch', epoch)} AND ${e.name('deaths')} > ${e.value(0)} AND ${e.absent('sealed')} AND (${e.absent('released')} OR ${e.name('released')} <> ${e.value(epoch)})`,
      }));
    },

    async seal(batchId, range) {
      // No condition, so it is idempotent, and what it answers is the record as it stays: no commit comes after.
      const sealed = await updateRecord(table, keys.shard(batchId, range.shard), (e) => ({
        set: [...newShard(e, batchId, range), e.setOnce('epoch', 0), e.setOnce('deaths', 0), e.equals('sealed', true)],
      }));
      if (!sealed) throw new Error(`Shard ${range.shard} of ${batchId} was not sealed`);
      return recordOf(parseShard(sealed));
    },

    async get(batchId, shard) {
      const standing = await readShard(table, batchId, shard);
      return standing && recordOf(standing);
    },

    async *list(batchId, shards = SHARD_PARTITIONS) {
      const partitions = Array.from({ length: Math.min(shards, SHARD_PARTITIONS) }, (_, partition) =>
        queryRecords(table, {
          where: (e) => ({ keys: e.equals(TABLE.partitionKey, keys.shardPartition(batchId, partition)) }),
        }),
      );
      // The first pages (1 MB each) are asked for at once: most batches have no others.
      const firsts = partitions.map((records) => records.next());
      // Whoever comes to it gets the error; until then it is nobody's.
      for (const first of firsts) first.catch(() => undefined);
      for (const [partition, first] of firsts.entries()) {
        const { value, done } = await first;
        if (done) continue;
        yield recordOf(parseShard(value));
        for await (const record of partitions[partition] ?? []) yield recordOf(parseShard(record));
      }
    },
  };
}

/** What a record starts with, each field only where it is not there yet. `epoch` and `deaths` are the caller's. */
function newShard(e: Expression, batchId: string, range: ShardRange): string[] {
  return [
    e.setOnce('batchId', batchId),
    e.setOnce('shard', range.shard),
    e.setOnce('commits', 0),
    e.setOnce('done', initialBitmap(range)),
    e.setOnce('completed', 0),
    e.setOnce('failed', 0),
    e.setOnce('usage', { inputTokens: 0, outputTokens: 0 }),
    e.setOnce('segments', []),
    e.setOnce('manifests', []),
    e.setOnce('attempts', {}),
    e.setOnce('recent', {}),
    e.setOnce('idleTurns', 0),
  ];
}

const append = (e: Expression, list: string, value: unknown) =>
  `${e.name(list)} = list_append(${e.name(list)}, ${e.value([value])})`;

const slotOf = (commit: number) => `c${commit % RECENT_COMMITS}`;

/** Segment keys are never reused (`objectKeys.segment` has a nonce): 16 of 43 characters tell them apart. */
const digestOf = (segmentKey: string) => createHash('sha256').update(segmentKey).digest('base64url').slice(0, 16);

/**
 * Why a commit's condition failed. It may be that this very commit stands: its answer was lost and the SDK, or the
 * worker, sent it again.
 *
 *   worker:   commit n ──► written ──x answer lost        commit n again ──► refused (commits is n + 1)
 *   another:                            claim, commit n + 1, fold …
 *
 * To call it lost then would delete a part that counts. Commit number n is made once, so the digest kept for n says
 * whose it was, whoever came after and whether the segment was folded away since. Only one that lies more than
 * `RECENT_COMMITS` back and may be inside a manifest cannot be told.
 */
function fateOf({ commits, segment, shard, epoch }: ShardCommit, standing: StoredShard): 'committed' | 'lost' {
  if (standing.commits <= commits) return 'lost';
  if (standing.commits - commits <= RECENT_COMMITS)
    return standing.recent[slotOf(commits)] === digestOf(segment.key) ? 'committed' : 'lost';
  if (standing.segments.some((ref) => ref.key === segment.key)) return 'committed';
  if (standing.manifests.length === 0) return 'lost';
  throw new CommitUnknown(
    `Commit ${commits} of epoch ${epoch} on shard ${shard} of ${standing.batchId} is too old to be told from others`,
  );
}

function parseShard(record: StoredRecord): StoredShard {
  return parseRecord(StoredShardSchema, record);
}

async function readShard(table: Table, batchId: string, shard: number): Promise<StoredShard | undefined> {
  const record = await getRecord(table, keys.shard(batchId, shard));
  return record && parseShard(record);
}

function recordOf({ claimToken: _, recent: __, ...record }: StoredShard): ShardRecord {
  return record;
}
