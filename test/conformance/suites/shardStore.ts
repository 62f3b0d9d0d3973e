import { ulid } from 'ulid';
import { describe, expect, test } from 'vitest';
import { type ShardRecord, setBit } from '../../../shared/domain/shard.ts';
import type { ShardStore } from '../../../shared/ports.ts';
import { aCommit, aRange, aSegment } from '../../support/records.ts';

/** What every `ShardStore` must do: the commit protocol. */
export function shardStoreSuite(open: () => ShardStore): void {
  const newBatchId = () => `batch_${ulid()}`;
  const claimed = async (batchId: string, range = aRange()): Promise<ShardRecord> => {
    const record = await open().claim(batchId, range);
    if (record === 'sealed') throw new Error('The shard is sealed');
    return record;
  };
  const all = async (batchId: string, shards?: number) => {
    const records: ShardRecord[] = [];
    for await (const record of open().list(batchId, shards)) records.push(record);
    return records.toSorted((a, b) => a.shard - b.shard);
  };

  describe('claim', () => {
    test('the first creates the record; lines that are not to be run count as done', async () => {
      const batchId = newBatchId();
      const skip = Buffer.from([0b0000_0101, 0b0000_0010]).toString('base64');
      expect(await claimed(batchId, aRange({ shard: 3, lines: 10, runnable: 7, skip }))).toEqual({
        batchId,
        shard: 3,
        epoch: 1,
        commits: 0,
        done: new Uint8Array([5, 2]),
        completed: 0,
        failed: 0,
        usage: { inputTokens: 0, outputTokens: 0 },
        segments: [],
        manifests: [],
        attempts: {},
        deaths: 1,
        idleTurns: 0,
        sealed: false,
      });
    });

    test('each takes the next epoch and counts a death until one commits', async () => {
      const batchId = newBatchId();
      await claimed(batchId);
      const second = await claimed(batchId);
      expect(second).toMatchObject({ epoch: 2, deaths: 2 });
      await open().commit(batchId, aCommit(second));
      expect(await claimed(batchId)).toMatchObject({ epoch: 3, deaths: 1, commits: 1 });
    });

    test('claims at once take different epochs', async () => {
      const batchId = newBatchId();
      const records = await Promise.all(Array.from({ length: 8 }, () => claimed(batchId)));
      expect(records.map((record) => record.epoch).toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    });

    test('a sealed shard cannot be claimed', async () => {
      const batchId = newBatchId();
      await open().seal(batchId, aRange());
      expect(await open().claim(batchId, aRange())).toBe('sealed');
      expect(await all(batchId)).toMatchObject([{ epoch: 0, deaths: 0, sealed: true }]);
    });
  });

  describe('commit', () => {
    test('adds the segment, counts and usage; replaces bitmap and attempts', async () => {
      const batchId = newBatchId();
      const record = await claimed(batchId);
      const done = new Uint8Array(record.done);
      setBit(done, 4);
      const first = aCommit(record, { done, attempts: { 2: 1, 7: 3 }, completed: 3, failed: 1 });
      expect(await open().commit(batchId, first)).toBe('committed');
      const second = aCommit(record, { commits: 1, done, attempts: { 7: 4 }, completed: 0, failed: 2 });
      expect(await open().commit(batchId, second)).toBe('committed');
      expect(await all(batchId)).toEqual([
        {
          ...record,
          commits: 2,
          done,
          attempts: { 7: 4 },
          completed: 3,
          failed: 3,
          usage: { inputTokens: 6, outputTokens: 4 },
          segments: [first.segment, second.segment],
          deaths: 0,
        },
      ]);
    });

    test('a worker that was overtaken commits nothing', async () => {
      const batchId = newBatchId();
      const zombie = await claimed(batchId);
      const worker = await claimed(batchId);
      expect(await open().commit(batchId, aCommit(zombie))).toBe('lost');
      expect(await open().commit(batchId, aCommit(worker))).toBe('committed');
      expect(await open().commit(batchId, aCommit(zombie))).toBe('lost');
      // Nor with a number that it guessed.
      expect(await open().commit(batchId, aCommit(zombie, { commits: 1 }))).toBe('lost');
      expect(await all(batchId)).toMatchObject([{ commits: 1, completed: 1 }]);
    });

    test('of two commits of one number at once one counts', async () => {
      const batchId = newBatchId();
      const record = await claimed(batchId);
      const twins = [aCommit(record), aCommit(record)];
      const results = await Promise.all(twins.map((commit) => open().commit(batchId, commit)));
      expect(results.toSorted()).toEqual(['committed', 'lost']);
      const winner = twins[results.indexOf('committed')];
      expect(await all(batchId)).toMatchObject([{ commits: 1, segments: [winner?.segment] }]);
    });

    test('the same commit again is committed, and counts once', async () => {
      const batchId = newBatchId();
      const commit = aCommit(await claimed(batchId));
      await open().commit(batchId, commit);
      expect(await open().commit(batchId, commit)).toBe('committed');
      expect(await all(batchId)).toMatchObject([{ commits: 1, completed: 1, segments: [commit.segment] }]);
    });

    test('it is still recognized after another worker went on, folded, and the shard was sealed', async () => {
      const batchId = newBatchId();
      const commit = aCommit(await claimed(batchId));
      await open().commit(batchId, commit);
      const next = await claimed(batchId);
      await open().commit(batchId, aCommit(next, { foldInto: 'parts/m.json' }));
      await open().commit(batchId, aCommit(next, { commits: 2 }));
      await open().seal(batchId, aRange());
      expect(await open().commit(batchId, commit)).toBe('committed');
      expect(await open().commit(batchId, { ...commit, segment: aSegment('parts/another.seg') })).toBe('lost');
    });

    test('one from long ago is recognized by its segment, lost without a fold, and never guessed', async () => {
      const batchId = newBatchId();
      const zombie = aCommit(await claimed(batchId));
      const worker = await claimed(batchId);
      const old = aCommit(worker);
      for (let commits = 0; commits < 20; commits++)
        await open().commit(batchId, commits === 0 ? old : aCommit(worker, { commits }));
      expect(await open().commit(batchId, old)).toBe('committed');
      expect(await open().commit(batchId, zombie)).toBe('lost');
      await open().commit(batchId, aCommit(worker, { commits: 20, foldInto: 'parts/m.json' }));
      await expect(open().commit(batchId, old)).rejects.toThrow('too old');
    });

    test('a fold replaces the segments by a manifest', async () => {
      const batchId = newBatchId();
      const record = await claimed(batchId);
      await open().commit(batchId, aCommit(record));
      await open().commit(batchId, aCommit(record, { commits: 1, foldInto: 'parts/one.json' }));
      const last = aCommit(record, { commits: 2 });
      await open().commit(batchId, last);
      await open().commit(batchId, aCommit(record, { commits: 3, foldInto: 'parts/two.json' }));
      expect(await all(batchId)).toMatchObject([
        { commits: 4, completed: 4, segments: [], manifests: ['parts/one.json', 'parts/two.json'] },
      ]);
    });

    test('a shard that nobody took takes no commit', async () => {
      const batchId = newBatchId();
      const record = { ...(await claimed(newBatchId())), batchId };
      expect(await open().commit(batchId, aCommit(record))).toBe('lost');
      expect(await all(batchId)).toEqual([]);
    });
  });

  describe('release', () => {
    test('takes the death back, once', async () => {
      const batchId = newBatchId();
      await claimed(batchId);
      const { epoch } = await claimed(batchId);
      await open().release(batchId, 0, epoch);
      await open().release(batchId, 0, epoch);
      expect(await all(batchId)).toMatchObject([{ deaths: 1 }]);
    });

    test('does nothing after a commit, nor for a worker that was overtaken', async () => {
      const batchId = newBatchId();
      const first = await claimed(batchId);
      await open().commit(batchId, aCommit(first));
      await open().release(batchId, 0, first.epoch);
      expect(await all(batchId)).toMatchObject([{ deaths: 0 }]);
      await claimed(batchId);
      await open().release(batchId, 0, first.epoch);
      expect(await all(batchId)).toMatchObject([{ deaths: 1 }]);
    });

    test('keeps the attempts it brings, after a commit too, and never those of a worker that was overtaken', async () => {
      const batchId = newBatchId();
      const record = await claimed(batchId);
      await open().release(batchId, 0, record.epoch, { attempts: { 2: 1 } });
      expect(await all(batchId)).toMatchObject([{ attempts: { 2: 1 }, deaths: 0 }]);
      const next = await claimed(batchId);
      await open().commit(batchId, aCommit(next));
      await open().release(batchId, 0, next.epoch, { attempts: { 3: 2 } });
      expect(await all(batchId)).toMatchObject([{ attempts: { 3: 2 }, deaths: 0 }]);
      await open().release(batchId, 0, record.epoch, { attempts: { 9: 9 } });
      await open().seal(batchId, aRange());
      await open().release(batchId, 0, next.epoch, { attempts: { 9: 9 } });
      expect(await all(batchId)).toMatchObject([{ attempts: { 3: 2 } }]);
    });

    test('counts a turn that finished nothing, once, and none that was not one', async () => {
      const batchId = newBatchId();
      const first = await claimed(batchId);
      await open().release(batchId, 0, first.epoch, { idle: true });
      await open().release(batchId, 0, first.epoch, { idle: true });
      expect(await all(batchId)).toMatchObject([{ idleTurns: 1, deaths: 0 }]);
      const second = await claimed(batchId);
      await open().release(batchId, 0, first.epoch, { idle: true });
      await open().release(batchId, 0, second.epoch);
      expect(await all(batchId)).toMatchObject([{ idleTurns: 1, deaths: 0 }]);
      const third = await claimed(batchId);
      await open().release(batchId, 0, third.epoch, { attempts: { 1: 1 }, idle: true });
      expect(await all(batchId)).toMatchObject([{ idleTurns: 2, deaths: 0, attempts: { 1: 1 } }]);
    });

    test('a commit may leave deaths on the record, which the release of its worker brings down by its own', async () => {
      const batchId = newBatchId();
      await claimed(batchId);
      await claimed(batchId);
      const record = await claimed(batchId);
      await open().commit(batchId, aCommit(record, { deaths: 3 }));
      expect(await all(batchId)).toMatchObject([{ deaths: 3 }]);
      await open().release(batchId, 0, record.epoch);
      expect(await all(batchId)).toMatchObject([{ deaths: 2 }]);
      expect(await claimed(batchId)).toMatchObject({ deaths: 3 });
    });

    test('of a shard that is not there does nothing', async () => {
      const batchId = newBatchId();
      await open().release(batchId, 0, 1);
      expect(await all(batchId)).toEqual([]);
    });
  });

  describe('seal', () => {
    test('answers what was committed, and nothing is committed after it', async () => {
      const batchId = newBatchId();
      const record = await claimed(batchId);
      await open().commit(batchId, aCommit(record));
      const sealed = await open().seal(batchId, aRange());
      expect(sealed).toMatchObject({ commits: 1, sealed: true, epoch: 1 });
      expect(await open().commit(batchId, aCommit(record, { commits: 1 }))).toBe('lost');
      await open().release(batchId, 0, record.epoch);
      expect(await open().seal(batchId, aRange())).toEqual(sealed);
      expect(await all(batchId)).toEqual([sealed]);
    });

    test('of a shard that no worker took makes a record with its bitmap', async () => {
      const batchId = newBatchId();
      const skip = Buffer.from([1]).toString('base64');
      expect(await open().seal(batchId, aRange({ lines: 3, runnable: 2, skip }))).toMatchObject({
        epoch: 0,
        commits: 0,
        deaths: 0,
        done: new Uint8Array([1]),
        sealed: true,
      });
    });

    test('whatever runs beside it, a commit is either in what the seal answered or lost', async () => {
      for (let n = 0; n < 20; n++) {
        const batchId = newBatchId();
        const record = await claimed(batchId);
        const [sealed, result] = await Promise.all([
          open().seal(batchId, aRange()),
          open().commit(batchId, aCommit(record)),
        ]);
        expect(sealed.commits).toBe(result === 'committed' ? 1 : 0);
        expect(await all(batchId)).toEqual([sealed]);
      }
    });
  });

  describe('get', () => {
    test('answers the record as it stands, and seals nothing', async () => {
      const batchId = newBatchId();
      const record = await claimed(batchId, aRange({ shard: 3 }));
      expect(await open().get(batchId, 3)).toEqual(record);
      expect(await open().commit(batchId, aCommit(record))).toBe('committed');
      expect(await open().get(batchId, 3)).toMatchObject({ commits: 1, sealed: false });
      expect(await open().get(batchId, 4)).toBeUndefined();
    });
  });

  describe('list', () => {
    test('streams every shard of the batch, from all partitions, and no other batch', async () => {
      const batchId = newBatchId();
      await Promise.all(Array.from({ length: 60 }, (_, shard) => claimed(batchId, aRange({ shard }))));
      await claimed(`${batchId}X`);
      expect((await all(batchId)).map((record) => record.shard)).toEqual(Array.from({ length: 60 }, (_, n) => n));
      expect(await all(newBatchId())).toEqual([]);
    });

    test.each([0, 1, 3, 8, 9])('of a batch of %i shards it finds each of them', async (shards) => {
      const batchId = newBatchId();
      for (let shard = 0; shard < shards; shard++) await claimed(batchId, aRange({ shard }));
      expect((await all(batchId, shards)).map((record) => record.shard)).toEqual(
        Array.from({ length: shards }, (_, n) => n),
      );
    });

    test('goes on over pages of 1 MB', async () => {
      const batchId = newBatchId();
      // Some 70 KB each in one partition: 24 are two pages.
      const attempts = Object.fromEntries(Array.from({ length: 6_000 }, (_, n) => [String(n), 3]));
      for (let n = 0; n < 24; n++) {
        const record = await claimed(batchId, aRange({ shard: n * 8, lines: 8_000 }));
        await open().commit(batchId, aCommit(record, { attempts }));
      }
      expect((await all(batchId)).map((record) => record.shard)).toEqual(Array.from({ length: 24 }, (_, n) => n * 8));
    });
  });
}
