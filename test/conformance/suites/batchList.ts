import { ulid } from 'ulid';
import { beforeAll, describe, expect, test } from 'vitest';
import type { BatchStatus } from '../../../shared/domain/batchStatus.ts';
import type { BatchStore, ListQuery } from '../../../shared/ports.ts';
import { aBatch } from '../../support/records.ts';

const NOW = Date.parse('2026-01-15T11:00:00.000Z');
const BATCHES = 250;

/** What `BatchStore.list` must do, on 250 batches of which every third has failed. */
export function batchListSuite(open: () => BatchStore): void {
  const projectId = `project-${ulid()}`;
  let ids: string[] = [];
  const failedIds = () => ids.filter((_, n) => n % 3 === 0);

  beforeAll(async () => {
    const batches = Array.from({ length: BATCHES }, (_, n) => aBatch({ projectId, createdAt: NOW + n }));
    ids = batches.map((batch) => batch.head.batchId);
    expect(ids.toSorted()).toEqual(ids);
    // A few at a time: the table may be in this very process.
    for (let at = 0; at < BATCHES; at += 25)
      await Promise.all(batches.slice(at, at + 25).map((batch) => open().create(batch)));
    for (const batchId of failedIds()) await open().move({ projectId, batchId }, 'failed', { now: NOW });
  });

  const list = async (query: Partial<ListQuery>) => {
    const page = await open().list({ projectId, take: 100, order: 'desc', ...query });
    return { ids: page.batches.map((head) => head.batchId), hasMore: page.hasMore };
  };

  describe.each(['asc', 'desc'] as const)('in order %s', (order) => {
    const all = () => (order === 'asc' ? ids : ids.toReversed());
    const failed = () => (order === 'asc' ? failedIds() : failedIds().toReversed());

    test.each([
      { skip: 0, take: 100 },
      { skip: 0, take: 1 },
      { skip: 1, take: 100 },
      { skip: 149, take: 100 },
      { skip: 150, take: 100 },
      { skip: 151, take: 100 },
      { skip: 249, take: 1 },
      { skip: 250, take: 5 },
      { skip: 10_000, take: 100 },
    ])('skip $skip, take $take', async ({ skip, take }) => {
      const expected = all().slice(skip, skip + take);
      expect(await list({ order, skip, take })).toEqual({ ids: expected, hasMore: skip + take < BATCHES });
    });

    test('after walks the whole list, each batch once', async () => {
      const seen: string[] = [];
      let after: string | undefined;
      for (let more = true; more; ) {
        const page = await list({ order, take: 60, ...(after !== undefined && { after }) });
        seen.push(...page.ids);
        after = page.ids.at(-1);
        more = page.hasMore;
      }
      expect(seen).toEqual(all());
    });

    test('after a batch that is not there goes on where it would be', async () => {
      const [gone, ...rest] =
        order === 'asc' ? [`batch_${ulid(NOW - 1_000)}`, ...ids] : [`batch_${ulid(NOW + 1_000)}`, ...all()];
      expect((await list({ order, take: 3, after: gone ?? '' })).ids).toEqual(rest.slice(0, 3));
    });

    test('status picks, also with skip and with after', async () => {
      const count = failed().length;
      expect(await list({ order, status: 'failed', take: 100 })).toEqual({ ids: failed(), hasMore: false });
      expect(await list({ order, status: 'failed', take: count })).toEqual({ ids: failed(), hasMore: false });
      expect(await list({ order, status: 'failed', take: count - 1 })).toEqual({
        ids: failed().slice(0, -1),
        hasMore: true,
      });
      expect(await list({ order, status: 'failed', skip: 80, take: 10 })).toEqual({
        ids: failed().slice(80),
        hasMore: false,
      });
      expect(await list({ order, status: 'failed', take: 5, after: failed()[9] ?? '' })).toEqual({
        ids: failed().slice(10, 15),
        hasMore: true,
      });
      expect(await list({ order, status: 'completed' })).toEqual({ ids: [], hasMore: false });
    });
  });

  test('a batch that was just created is in the plain list at once', async () => {
    const own = `project-${ulid()}`;
    const batch = aBatch({ projectId: own });
    await open().create(batch);
    const page = await open().list({ projectId: own, take: 1, order: 'desc' });
    expect(page).toEqual({ batches: [batch.head], hasMore: false });
  });

  test('the status in the list follows each move', async () => {
    const own = `project-${ulid()}`;
    const { head } = aBatch({ projectId: own });
    await open().create(aBatch(head));
    const under = async (status: BatchStatus) =>
      (await open().list({ projectId: own, take: 10, order: 'desc', status })).batches.length;
    expect([await under('validating'), await under('in_progress')]).toEqual([1, 0]);
    await open().move(head, 'in_progress', { now: NOW });
    expect([await under('validating'), await under('in_progress')]).toEqual([0, 1]);
  });

  test('another project sees nothing', async () => {
    expect(await list({ projectId: 'somebody-else' })).toEqual({ ids: [], hasMore: false });
    expect(await list({ projectId: 'somebody-else', skip: 1 })).toEqual({ ids: [], hasMore: false });
    expect(await list({ projectId: projectId.slice(0, -1) })).toEqual({ ids: [], hasMore: false });
  });
}
