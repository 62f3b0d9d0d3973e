import { ulid } from 'ulid';
import { describe, expect, test } from 'vitest';
import type { IdempotencyStore, SnapshotStore, UploadStore, WebhookSecretStore } from '../../../shared/ports.ts';

const NOW = Date.parse('2026-01-15T11:00:00.000Z');
const newProjectId = () => `project-${ulid()}`;

export function webhookSecretStoreSuite(open: () => WebhookSecretStore): void {
  describe('webhook secrets', () => {
    test('the first candidate is kept, with what came before it', async () => {
      const projectId = newProjectId();
      const first = { secret: 'whsec_one', createdAt: NOW, previous: [{ secret: 'whsec_zero', validUntil: NOW + 1 }] };
      expect(await open().get(projectId)).toBeUndefined();
      expect(await open().getOrCreate(projectId, first)).toEqual(first);
      expect(await open().getOrCreate(projectId, { secret: 'whsec_two', createdAt: NOW })).toEqual(first);
      expect(await open().get(projectId)).toEqual(first);
    });

    test('a rotation replaces the secret that it was made from, and no other', async () => {
      const projectId = newProjectId();
      const first = await open().getOrCreate(projectId, { secret: 'whsec_one', createdAt: NOW });
      const next = {
        secret: 'whsec_two',
        createdAt: NOW + 1,
        previous: [{ secret: 'whsec_one', validUntil: NOW + 2 }],
      };
      expect(await open().rotate(projectId, first, next)).toEqual(next);
      expect(await open().rotate(projectId, first, { secret: 'whsec_three', createdAt: NOW + 2 })).toEqual(next);
      expect(await open().get(projectId)).toEqual(next);
    });

    test('of many at once all are given the same', async () => {
      const projectId = newProjectId();
      const secrets = await Promise.all(
        [1, 2, 3, 4].map((n) => open().getOrCreate(projectId, { secret: `whsec_${n}`, createdAt: NOW })),
      );
      expect(new Set(secrets.map((each) => each.secret)).size).toBe(1);
    });

    test('each project has its own', async () => {
      const [one, two] = [newProjectId(), newProjectId()];
      await open().getOrCreate(one, { secret: 'whsec_one', createdAt: NOW });
      expect(await open().get(two)).toBeUndefined();
    });
  });
}

export function idempotencyStoreSuite(open: () => IdempotencyStore): void {
  describe('idempotency', () => {
    const record = (batchId: string, expiresAt = NOW + 86_400_000) => ({ batchId, bodyHash: 'h', expiresAt });

    test('the first record stands until it expires', async () => {
      const projectId = newProjectId();
      const first = record('batch_1', NOW + 1_000);
      expect(await open().begin(projectId, 'key', first, NOW)).toEqual(first);
      expect(await open().begin(projectId, 'key', record('batch_2'), NOW + 999)).toEqual(first);
      expect(await open().find(projectId, 'key', NOW + 999)).toEqual(first);
      expect(await open().find(projectId, 'key', NOW + 1_000)).toBeUndefined();
      expect(await open().find(projectId, 'other', NOW)).toBeUndefined();
      expect(await open().begin(projectId, 'key', record('batch_3'), NOW + 1_000)).toEqual(record('batch_3'));
    });

    test('of many at once all are given the same', async () => {
      const projectId = newProjectId();
      const all = await Promise.all([1, 2, 3, 4].map((n) => open().begin(projectId, 'key', record(`batch_${n}`), NOW)));
      expect(new Set(all.map((each) => each.batchId)).size).toBe(1);
    });

    test('other keys and other projects do not meet, however long or odd the key', async () => {
      const projectId = newProjectId();
      const odd = ['a', 'a#b', ' ', 'x'.repeat(10_000), 'ключ 😀'];
      for (const [n, key] of odd.entries()) {
        expect((await open().begin(projectId, key, record(`batch_${n}`), NOW)).batchId).toBe(`batch_${n}`);
        expect((await open().begin(newProjectId(), key, record('batch_other'), NOW)).batchId).toBe('batch_other');
      }
    });
  });
}

export function uploadStoreSuite(open: () => UploadStore): void {
  describe('uploads', () => {
    const anUpload = () => ({
      projectId: newProjectId(),
      fileId: `file_${ulid()}`,
      key: 'uploads/p/f',
      bytes: 5 * 1024 ** 3,
      contentType: 'application/jsonl',
      createdAt: NOW,
      expiresAt: NOW + 1_000,
    });

    test('an upload is found until it expires', async () => {
      const upload = anUpload();
      await open().put(upload);
      await open().put(upload);
      expect(await open().get(upload.projectId, upload.fileId, NOW + 999)).toEqual(upload);
      expect(await open().get(upload.projectId, upload.fileId, NOW + 1_000)).toBeUndefined();
    });

    test("another project's upload is not found", async () => {
      const upload = anUpload();
      await open().put(upload);
      expect(await open().get(newProjectId(), upload.fileId, NOW)).toBeUndefined();
    });
  });
}

export function snapshotStoreSuite(open: () => SnapshotStore): void {
  describe('snapshots', () => {
    const newBatchId = () => `batch_${ulid()}`;
    const ready = (snapshot: number) => ({
      snapshot,
      asOf: NOW + snapshot,
      readyAt: NOW + snapshot + 500,
      output: { key: `snapshots/p/b/${snapshot}-output.jsonl`, bytes: 3 },
    });

    test('there is no record before the first is taken, and one taken is not ready', async () => {
      const batchId = newBatchId();
      expect(await open().get(batchId)).toBeUndefined();
      expect(await open().take(batchId, 0, NOW)).toBe('taken');
      expect(await open().get(batchId)).toEqual({ taken: 1, takenAt: NOW, ready: [] });
    });

    test('each number is taken once, and only after the one before it', async () => {
      const batchId = newBatchId();
      expect(await open().take(batchId, 1, NOW)).toBe('superseded');
      const first = await Promise.all([1, 2, 3, 4].map((at) => open().take(batchId, 0, NOW + at)));
      expect(first.sort()).toEqual(['superseded', 'superseded', 'superseded', 'taken']);
      const second = await Promise.all([1, 2, 3].map((at) => open().take(batchId, 1, NOW + at)));
      expect(second.sort()).toEqual(['superseded', 'superseded', 'taken']);
      expect(await open().get(batchId)).toMatchObject({ taken: 2 });
    });

    test('those that are ready are kept over the next one taken, oldest first, until they are dropped', async () => {
      const batchId = newBatchId();
      for (let number = 0; number < 12; number++) await open().take(batchId, number, NOW + number);
      await open().setReady(batchId, ready(10), []);
      await open().setReady(batchId, ready(2), []);
      await open().setReady(batchId, { snapshot: 9, asOf: NOW, readyAt: NOW }, []);
      await open().take(batchId, 12, NOW + 99);
      expect(await open().get(batchId)).toEqual({
        taken: 13,
        takenAt: NOW + 99,
        ready: [ready(2), { snapshot: 9, asOf: NOW, readyAt: NOW }, ready(10)],
      });
      await open().setReady(batchId, ready(13), [2, 9, 7]);
      await open().setReady(batchId, ready(13), [2, 9, 7]);
      expect((await open().get(batchId))?.ready).toEqual([ready(10), ready(13)]);
    });

    test('a snapshot is never dropped by itself', async () => {
      const batchId = newBatchId();
      await open().take(batchId, 0, NOW);
      await open().setReady(batchId, ready(1), [1]);
      expect((await open().get(batchId))?.ready).toEqual([ready(1)]);
    });

    test('one that is finished after its record has gone leaves none', async () => {
      const batchId = newBatchId();
      await open().setReady(batchId, ready(1), []);
      expect(await open().get(batchId)).toBeUndefined();
    });
  });
}
