import { type BatchRef, MAX_BATCH_ERRORS, type Usage } from '../../domain/batch.ts';
import { freeMemory } from '../../domain/freeMemory.ts';
import { objectKeys } from '../../domain/objectKeys.ts';
import {
  isShardDone,
  MAX_INLINE_SEGMENTS,
  type SegmentRef,
  type ShardRange,
  type ShardRecord,
  setBit,
} from '../../domain/shard.ts';
import type { Ports } from '../../ports.ts';
import { PendingResults, type TakenResult } from './pendingResults.ts';
import type { LineResult } from './prepareLine.ts';

export type CommitSettings = {
  commitEverySeconds: number;
  commitLines: number;
  commitGapMs: number;
  commitBytes: number;
  /** What the record says of dead workers from then on. */
  deathsAfterCommit(): number;
};

/** A commit that waits for `commitGapMs` waits for no more than so many times `commitLines`. */
export const MOST_LINES_FACTOR = 5;

/** S3 and DynamoDB are tried again by their clients; this is for an outage of some seconds. */
const COMMIT_TRIES = 3;
const COMMIT_PAUSE_MS = 1_000;
/**
 * Live counts are told no more often: commits that follow each other faster would have an update of the batch's record
 * each, which nobody looks at.
 */
const COUNTS_EVERY_MS = 2_000;

/**
 * Results on their way into the shard's record: segment to S3 under a key that is never reused, then one conditional
 * update. One commit at a time; results go on being collected meanwhile. The batch's live counts follow soon after.
 */
export class ShardCommits {
  readonly #deps: Pick<Ports, 'files' | 'shards' | 'batches' | 'clock' | 'ids' | 'log'>;
  readonly #ref: BatchRef;
  readonly #range: ShardRange;
  readonly #settings: CommitSettings;
  readonly #epoch: number;
  #commits: number;
  #done: Uint8Array;
  #segments: SegmentRef[];
  readonly #pending = new PendingResults();
  #committingBytes = 0;
  #usage: Usage = { inputTokens: 0, outputTokens: 0 };
  #since: number;
  /** When the newest commit began. */
  #begunAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;

  /** Another worker has the shard, or it is sealed. */
  lost = false;
  /** This worker has committed something. */
  committed = false;
  /** Attempts used up by unfinished lines, by index in the shard. The record keeps them over turns. */
  readonly attempts: Map<number, number>;
  #attemptsSaved = true;
  /** Committed, and not in the batch's live counts yet. */
  #uncounted = { completed: 0, failed: 0, inputTokens: 0, outputTokens: 0 };
  #countsDueAt = Number.NEGATIVE_INFINITY;
  /** The batch's record takes no more failed lines. */
  #errorsFull = false;

  constructor(
    deps: Pick<Ports, 'files' | 'shards' | 'batches' | 'clock' | 'ids' | 'log'>,
    ref: BatchRef,
    range: ShardRange,
    record: ShardRecord,
    settings: CommitSettings,
  ) {
    this.#deps = deps;
    this.#ref = ref;
    this.#range = range;
    this.#settings = settings;
    this.#epoch = record.epoch;
    this.#commits = record.commits;
    this.#done = record.done.slice();
    this.#segments = [...record.segments];
    this.#since = deps.clock.now();
    this.attempts = new Map(Object.entries(record.attempts).map(([index, count]) => [Number(index), count]));
  }

  get busy(): boolean {
    return this.#running !== undefined;
  }
  get pending(): number {
    return this.#pending.count;
  }
  /** Bytes of results held here, on their way included. */
  get heldBytes(): number {
    return this.#pending.bytes + this.#committingBytes;
  }
  get shardDone(): boolean {
    return isShardDone(this.#range, this.#done);
  }
  /** When a commit falls due, by what there is now; far away where there is nothing to commit. */
  get dueAt(): number {
    const { commitEverySeconds, commitLines, commitGapMs, commitBytes } = this.#settings;
    const { count, bytes } = this.#pending;
    if (count === 0) return Number.POSITIVE_INFINITY;
    if (count >= MOST_LINES_FACTOR * commitLines || bytes >= commitBytes) return Number.NEGATIVE_INFINITY;
    const byTime = this.#since + commitEverySeconds * 1000;
    return count >= commitLines ? Math.min(byTime, this.#begunAt + commitGapMs) : byTime;
  }

  /** The line is finished: its result waits for the next commit. */
  add(result: LineResult): void {
    if (this.#pending.count === 0) this.#since = this.#deps.clock.now();
    this.#pending.add(result);
    this.attempts.delete(result.line - this.#range.firstLine);
  }

  setAttempts(index: number, attempts: number): void {
    if (attempts === 0) return;
    this.attempts.set(index, attempts);
    this.#attemptsSaved = false;
  }

  /** What the next commit would take along, where none comes. */
  get unsavedAttempts(): Record<string, number> | undefined {
    return this.#attemptsSaved ? undefined : Object.fromEntries(this.attempts);
  }

  /** Tokens are paid for whatever came of them. */
  addUsage(usage: Usage | undefined): void {
    this.#usage.inputTokens += usage?.inputTokens ?? 0;
    this.#usage.outputTokens += usage?.outputTokens ?? 0;
  }

  isDue(now: number): boolean {
    // A clock that was set back would have it wait until that time has come again.
    this.#since = Math.min(this.#since, now);
    this.#begunAt = Math.min(this.#begunAt, now);
    return now >= this.dueAt;
  }

  /** Starts a commit of what is there, unless one is under way. Rejects where it cannot be told whether it counts. */
  start(): Promise<void> {
    if (this.#running !== undefined) return this.#running;
    if (this.#pending.count === 0 || this.lost) return Promise.resolve();
    this.#running = this.#commit().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Commits all there is. */
  async flush(): Promise<void> {
    while (!this.lost && (this.#running !== undefined || this.#pending.count > 0)) await this.start();
  }

  /** When what was committed is to be told to the batch; far away where that was done. */
  get countsDueAt(): number {
    return this.#uncounted.completed + this.#uncounted.failed === 0 ? Number.POSITIVE_INFINITY : this.#countsDueAt;
  }

  /** Never rejects: they are live counts only, which Plan and Finalize set from the shards' records. */
  async tellCounts(): Promise<void> {
    const { batches, clock, log } = this.#deps;
    const { completed, failed, ...usage } = this.#uncounted;
    if (completed + failed === 0) return;
    this.#uncounted = { completed: 0, failed: 0, inputTokens: 0, outputTokens: 0 };
    this.#countsDueAt = clock.now() + COUNTS_EVERY_MS;
    try {
      // A batch whose models report no tokens has no usage, not one of zero.
      const reported = usage.inputTokens + usage.outputTokens > 0 ? { usage } : {};
      await batches.addCounts(this.#ref, { completed, failed, ...reported }, clock.now());
    } catch (error) {
      log.warn('counts not added', { batchId: this.#ref.batchId, error });
    }
  }

  async #commit(): Promise<void> {
    const { shards, clock, log } = this.#deps;
    this.#begunAt = clock.now();
    const { results, body } = this.#pending.take(this.#settings.commitBytes);
    this.#committingBytes = body.length;
    const usage = this.#usage;
    this.#usage = { inputTokens: 0, outputTokens: 0 };

    this.#attemptsSaved = true;

    const lines = results.map(({ line }) => line);
    const done = this.#done.slice();
    for (const line of lines) setBit(done, line - this.#range.firstLine);
    const failed = results.filter(({ file }) => file === 'e').length;
    const completed = results.length - failed;
    const nonce = this.#deps.ids.ulid();
    const name = [this.#ref, this.#range.shard, this.#epoch, this.#commits, nonce] as const;
    const segment: SegmentRef = {
      key: objectKeys.segment(...name),
      bytes: body.length,
      first: lines.reduce((least, line) => Math.min(least, line)),
      last: lines.reduce((most, line) => Math.max(most, line)),
    };
    const inline = [...this.#segments, segment];
    const manifest = inline.length > MAX_INLINE_SEGMENTS ? objectKeys.manifest(...name) : undefined;
    const commit = {
      shard: this.#range.shard,
      epoch: this.#epoch,
      commits: this.#commits,
      segment,
      done,
      completed,
      failed,
      usage,
      attempts: Object.fromEntries(this.attempts),
      deaths: this.#settings.deathsAfterCommit(),
      ...(manifest === undefined ? {} : { foldInto: manifest }),
    };

    let timesSent = 0;
    const outcome = await this.#tryAgain(async () => {
      timesSent++;
      const { attempts = 1 } = await this.#deps.files.put(segment.key, body);
      timesSent += attempts - 1;
      if (manifest !== undefined) await this.#deps.files.put(manifest, JSON.stringify(inline), 'application/json');
      return shards.commit(this.#ref.batchId, commit);
    });
    this.#committingBytes = 0;
    // A socket that S3 has answered too early may still be sending what it was given.
    if (timesSent === 1) freeMemory(body);
    if (outcome === 'lost') {
      this.lost = true;
      log.info('shard lost to another worker', {
        batchId: this.#ref.batchId,
        shard: commit.shard,
        epoch: commit.epoch,
      });
      await this.#deps.files.delete(manifest === undefined ? [segment.key] : [segment.key, manifest]);
      return;
    }
    this.committed = true;
    this.#commits++;
    this.#done = done;
    this.#segments = manifest === undefined ? inline : [];
    const uncounted = this.#uncounted;
    uncounted.completed += completed;
    uncounted.failed += failed;
    uncounted.inputTokens += usage.inputTokens;
    uncounted.outputTokens += usage.outputTokens;
    await this.#addErrors(results);
  }

  /** The record shows the first failed lines while the batch runs. Finalize sets the exact list. */
  async #addErrors(results: readonly TakenResult[]): Promise<void> {
    if (this.#errorsFull) return;
    const errors = results
      .flatMap(({ line, error }) => (error ? [{ ...error, line, param: null }] : []))
      .sort((a, b) => a.line - b.line)
      .slice(0, MAX_BATCH_ERRORS);
    if (errors.length === 0) return;
    const { batchId } = this.#ref;
    try {
      this.#errorsFull = (await this.#deps.batches.addErrors(batchId, errors)) === 'full';
    } catch (error) {
      this.#deps.log.warn('errors not added', { batchId, error });
    }
  }

  /** The very same commit again: the record recognizes one whose answer was lost. The part stays if it never tells. */
  async #tryAgain<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (tries === COMMIT_TRIES) throw error;
        this.#deps.log.warn('commit tried again', { tries, error });
        await this.#deps.clock.sleep(COMMIT_PAUSE_MS * tries);
      }
    }
  }
}
