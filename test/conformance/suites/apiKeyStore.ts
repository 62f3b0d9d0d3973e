import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import type { ApiKey } from '../../../shared/domain/apiKey.ts';
import type { ApiKeyStore } from '../../../shared/ports.ts';

const NOW = Date.parse('2026-01-15T11:00:00.000Z');

/** What every `ApiKeyStore` must do. `open` must give a store without keys each time: the list is one for all projects. */
export function apiKeyStoreSuite(open: () => Promise<ApiKeyStore>): void {
  const aKey = (n: number, fields: Partial<ApiKey> = {}): ApiKey => ({
    keyId: `key_${ulid(NOW + n)}`,
    hash: n.toString(16).padStart(64, '0'),
    prefix: 'plai_ab12',
    projectId: 'project-1',
    role: 'admin',
    name: `Key ${n}`,
    createdAt: NOW + n,
    ...fields,
  });

  test('a key is found by its hash and by its id', async () => {
    const store = await open();
    const key = aKey(1, { expiresAt: NOW + 1_000 });
    await store.put(key);
    expect(await store.findByHash(key.hash)).toEqual(key);
    expect(await store.get(key.keyId)).toEqual(key);
  });

  test('what is not there is not found', async () => {
    const store = await open();
    expect(await store.findByHash('f'.repeat(64))).toBeUndefined();
    expect(await store.get('key_none')).toBeUndefined();
    expect(await store.revoke('key_none', NOW)).toBe('not_found');
    expect(await store.list({ take: 10 })).toEqual({ keys: [], hasMore: false });
  });

  test('a revoked key says since when, the first time staying', async () => {
    const store = await open();
    const key = aKey(1);
    await store.put(key);
    expect(await store.revoke(key.keyId, NOW + 5)).toBe('revoked');
    expect(await store.revoke(key.keyId, NOW + 9)).toBe('revoked');
    expect(await store.findByHash(key.hash)).toEqual({ ...key, revokedAt: NOW + 5 });
  });

  test('putting a key again does not undo its revocation', async () => {
    const store = await open();
    const key = aKey(1);
    await store.put(key);
    await store.revoke(key.keyId, NOW + 5);
    await store.put(key);
    expect(await store.findByHash(key.hash)).toMatchObject({ revokedAt: NOW + 5 });
  });

  test('neither an id nor a hash is given to a second key', async () => {
    const store = await open();
    const key = aKey(1);
    await store.put(key);
    await expect(store.put({ ...aKey(2), keyId: key.keyId })).rejects.toThrow('id');
    await expect(store.put({ ...aKey(3), hash: key.hash })).rejects.toThrow('hash');
    expect(await store.get(key.keyId)).toEqual(key);
    expect(await store.findByHash(key.hash)).toEqual(key);
  });

  test('the list is newest first and pages over all projects, or one', async () => {
    const store = await open();
    const all = Array.from({ length: 25 }, (_, n) => aKey(n, { projectId: n % 5 === 0 ? 'project-2' : 'project-1' }));
    await Promise.all(all.map((key) => store.put(key)));
    const newestFirst = all.toReversed();
    expect(await store.list({ take: 25 })).toEqual({ keys: newestFirst, hasMore: false });
    expect(await store.list({ take: 24 })).toEqual({ keys: newestFirst.slice(0, 24), hasMore: true });
    const after = newestFirst[9]?.keyId ?? '';
    expect(await store.list({ take: 10, after })).toEqual({ keys: newestFirst.slice(10, 20), hasMore: true });
    const ofOne = newestFirst.filter((key) => key.projectId === 'project-2');
    expect(await store.list({ take: 5, projectId: 'project-2' })).toEqual({ keys: ofOne, hasMore: false });
    expect(await store.list({ take: 2, projectId: 'project-2' })).toEqual({ keys: ofOne.slice(0, 2), hasMore: true });
    expect(await store.list({ take: 2, projectId: 'project-2', after: ofOne[1]?.keyId ?? '' })).toEqual({
      keys: ofOne.slice(2, 4),
      hasMore: true,
    });
  });
}
