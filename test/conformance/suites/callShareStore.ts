import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import { HORIZON_MS } from '../../../shared/domain/retry/callShare.ts';
import type { CallShareStore } from '../../../shared/ports.ts';

const NOW = Date.parse('2026-01-15T11:00:00.000Z');
const at = (now: number) => ({ now: () => now });
/** A quarter of what may be taken ahead. */
const BLOCK_MS = 250;

export function callShareStoreSuite(open: () => CallShareStore): void {
  const start = () => {
    const model = `model-${ulid()}`;
    const store = open();
    const ask = (projectId: string, batchId = `${projectId}-1`) => ({
      ...{ model, record: 0, holder: { projectId, batchId }, aheadMs: 0 },
    });
    const take = (projectId: string, now: number, costMs = BLOCK_MS) =>
      store.take({ ...ask(projectId), costMs }, at(now));
    return { store, ask, take };
  };

  test('blocks lie one after the other, up to the horizon; then it is told when to come again', async () => {
    const { take } = start();
    const first = await take('a', NOW);
    if (!first?.taken) throw new Error('the first block was not to be had');
    let to = first.to;
    for (;;) {
      const next = await take('a', NOW);
      if (!next?.taken) {
        expect(next).toMatchObject({ taken: false, comeAt: to - HORIZON_MS, parts: 1 });
        break;
      }
      expect(next.from).toBeCloseTo(to, 3);
      expect(next.to - next.from).toBeCloseTo(BLOCK_MS, 3);
      to = next.to;
    }
    expect(await take('a', to - HORIZON_MS)).toMatchObject({ taken: true });
  });

  test('of many that take at once none has what another has', async () => {
    const { take } = start();
    const blocks = await Promise.all(Array.from({ length: 8 }, (_, worker) => take(`project-${worker % 3}`, NOW, 100)));
    const taken = blocks.flatMap((block) => (block?.taken ? [block] : [])).sort((a, b) => a.from - b.from);
    expect(taken.length).toBeGreaterThan(0);
    for (const [index, block] of taken.slice(1).entries())
      expect(block.from).toBeGreaterThanOrEqual((taken[index]?.to ?? 0) - 0.001);
  });

  test('the rest of a block is given back, unless others have taken behind it', async () => {
    const { store, ask, take } = start();
    const first = await take('a', NOW);
    if (!first?.taken) throw new Error('no block');
    const back = { ...ask('a'), to: first.to, unusedMs: 200, owedMs: 0 };
    await store.giveBack(back, at(NOW));
    const second = await take('b', NOW);
    expect(second).toMatchObject({ taken: true, from: first.to - 200 });
    await store.giveBack(back, at(NOW));
    expect(await take('b', NOW)).toMatchObject({ from: second?.taken ? second.to : 0 });
  });

  test('what calls took beyond their block is made up for', async () => {
    const { store, ask, take } = start();
    const first = await take('a', NOW);
    if (!first?.taken) throw new Error('no block');
    await store.giveBack({ ...ask('a'), unusedMs: 0, owedMs: 700 }, at(NOW));
    expect(await take('b', NOW)).toMatchObject({ taken: true, from: first.to + 700 });
  });

  test('giving back to a record that is not there does nothing', async () => {
    const { store, ask, take } = start();
    await store.giveBack({ ...ask('a'), to: NOW, unusedMs: 5, owedMs: 5 }, at(NOW));
    expect(await take('a', NOW)).toMatchObject({ taken: true, parts: 1 });
  });

  test('each model and each of its records has a timeline of its own', async () => {
    const { store, ask, take } = start();
    const first = await take('a', NOW);
    const beside = await store.take({ ...ask('a'), record: 1, costMs: BLOCK_MS }, at(NOW));
    expect(beside).toEqual(first);
    expect(await start().take('a', NOW)).toEqual(first);
  });

  test('who waits is counted, by project and by batch; who is gone is not', async () => {
    const { store, ask, take } = start();
    const count = (projectId: string, batchId: string, now: number) =>
      store.take({ ...ask(projectId, batchId), costMs: 0 }, at(now));
    expect(await take('a', NOW)).toMatchObject({ parts: 1 });
    expect(await count('b', 'b-1', NOW)).toMatchObject({ parts: 2 });
    expect(await count('b', 'b-2', NOW)).toMatchObject({ parts: 4 });
    expect(await take('a', NOW)).toMatchObject({ parts: 2 });
    expect(await count('b', 'b-1', NOW + 20_000)).toMatchObject({ parts: 4 });
    expect(await count('b', 'b-1', NOW + 40_000)).toMatchObject({ parts: 1 });
  });
}
