import { ulid } from 'ulid';
import { describe, expect, test } from 'vitest';
import type { BatchStatus } from '../../../shared/domain/batchStatus.ts';
import { MINUTE_MS, windowOf } from '../../../shared/domain/quotas.ts';
import type { BatchStore, OpenBatchStore, QuotaStore } from '../../../shared/ports.ts';
import { aBatch } from '../../support/records.ts';

const NOW = Date.parse('2026-01-15T11:00:30.000Z');
const newProjectId = () => `project-${ulid()}`;
const all = <T>(count: number, one: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, n) => one(n)));

export function quotaStoreSuite(open: () => QuotaStore): void {
  const minute = windowOf(NOW, MINUTE_MS);
  const next = windowOf(NOW + MINUTE_MS, MINUTE_MS);

  describe('counts of quotas', () => {
    test('requests add up, also of many at once, each minute and each project by itself', async () => {
      const projectId = newProjectId();
      expect(await open().countRequests(projectId, minute, 30)).toBe(30);
      const sums = await all(10, () => open().countRequests(projectId, minute, 5));
      expect(sums.sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, n) => 35 + 5 * n));
      expect(await open().countRequests(projectId, next, 1)).toBe(1);
      expect(await open().countRequests(newProjectId(), minute, 2)).toBe(2);
    });

    test('uploads are counted until they are too many', async () => {
      const projectId = newProjectId();
      const count = () => open().countUpload(projectId, minute, { bytes: 1, maxUploads: 3, maxBytes: 1_000 });
      const results = await all(8, count);
      expect(results.filter((result) => result === 'counted')).toHaveLength(3);
      expect(await open().countUpload(projectId, next, { bytes: 1, maxUploads: 1, maxBytes: 1 })).toBe('counted');
    });

    test('one that would be too much is refused and leaves its room to a smaller one', async () => {
      const projectId = newProjectId();
      const count = (bytes: number) =>
        open().countUpload(projectId, minute, { bytes, maxUploads: 100, maxBytes: 1_000 });
      expect(await count(1_001)).toBe('full');
      expect(await count(600)).toBe('counted');
      expect(await count(401)).toBe('full');
      expect(await count(400)).toBe('counted');
      expect(await count(1)).toBe('full');
    });
  });
}

export function openBatchStoreSuite(open: () => { batches: BatchStore; openBatches: OpenBatchStore }): void {
  const at = (projectId: string, batchId = `batch_${ulid()}`) => ({ projectId, batchId });
  const made = async (projectId: string, status: BatchStatus = 'validating') => {
    const { head } = aBatch({ projectId, status });
    expect(await open().openBatches.take(head, 1_000, NOW)).toBe('taken');
    await open().batches.create(aBatch(head));
    return head;
  };
  const take = (projectId: string, limit: number | undefined, now = NOW) =>
    open().openBatches.take(at(projectId), limit, now);

  describe('places of open batches', () => {
    test('are as many as the limit says, however many come at once, and each project has its own', async () => {
      const projectId = newProjectId();
      for (let n = 0; n < 3; n++) await made(projectId);
      const results = await all(10, () => take(projectId, 7));
      expect(results.filter((result) => result === 'taken')).toHaveLength(4);
      expect(await take(newProjectId(), 1)).toBe('taken');
    });

    test('of a new project are as many, too', async () => {
      const projectId = newProjectId();
      const results = await all(10, () => take(projectId, 2));
      expect(results.filter((result) => result === 'taken')).toHaveLength(2);
    });

    test('are taken once by a batch, however often it asks', async () => {
      const { openBatches } = open();
      const ref = at(newProjectId());
      for (let n = 0; n < 3; n++) expect(await openBatches.take(ref, 2, NOW)).toBe('taken');
      expect(await take(ref.projectId, 2)).toBe('taken');
      expect(await take(ref.projectId, 2)).toBe('full');
      expect(await openBatches.take(ref, 2, NOW)).toBe('taken');
    });

    test('are given back, once', async () => {
      const { openBatches } = open();
      const [one, other] = [at(newProjectId()), at(newProjectId())];
      await openBatches.give(one);
      await openBatches.take(one, 1, NOW);
      await openBatches.take(other, 1, NOW);
      await openBatches.give(one);
      await openBatches.give(one);
      expect(await take(one.projectId, 1)).toBe('taken');
      expect(await take(one.projectId, 1)).toBe('full');
      expect(await take(other.projectId, 1)).toBe('full');
    });

    test.each<[BatchStatus, 'taken' | 'full']>([
      ['validating', 'full'],
      ['in_progress', 'full'],
      ['finalizing', 'full'],
      ['cancelling', 'full'],
      ['completed', 'taken'],
      ['failed', 'taken'],
      ['expired', 'taken'],
      ['cancelled', 'taken'],
    ])('whose batch is %s leave the next one: %s', async (status, expected) => {
      const projectId = newProjectId();
      await made(projectId, status);
      expect(await take(projectId, 1)).toBe(expected);
    });

    test('of all that have ended are free at once, more than are freed at a time', async () => {
      const projectId = newProjectId();
      for (let n = 0; n < 60; n++) await made(projectId, 'completed');
      const results = await all(6, () => take(projectId, 60));
      expect(results).toEqual(Array(6).fill('taken'));
      for (let n = 6; n < 60; n++) expect(await take(projectId, 60)).toBe('taken');
      expect(await take(projectId, 60)).toBe('full');
    });

    test('of a batch that was never made are free after two minutes, not before', async () => {
      const projectId = newProjectId();
      expect(await take(projectId, 1)).toBe('taken');
      expect(await take(projectId, 1, NOW + 119_999)).toBe('full');
      expect(await take(projectId, 1, NOW + 120_000)).toBe('taken');
    });

    test('a batch that is made after all has a place whatever the limit says, and counts from then on', async () => {
      const projectId = newProjectId();
      await made(projectId);
      expect(await take(projectId, 1)).toBe('full');
      expect(await take(projectId, undefined)).toBe('taken');
      expect(await take(projectId, 2)).toBe('full');
      expect(await take(projectId, 3)).toBe('taken');
      expect(await take(newProjectId(), undefined)).toBe('taken');
    });

    test('two that find the same ended batch share one free place', async () => {
      const projectId = newProjectId();
      await made(projectId);
      await made(projectId, 'completed');
      const results = await all(5, () => take(projectId, 2));
      expect(results.filter((result) => result === 'taken')).toHaveLength(1);
    });

    test('may be hundreds', async () => {
      const projectId = newProjectId();
      const results = await all(301, () => take(projectId, 300));
      expect(results.filter((result) => result === 'taken')).toHaveLength(300);
    });
  });
}
