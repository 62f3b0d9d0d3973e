import * as z from 'zod';
import { type CallShares, holderKey, returnBlock, takeBlock } from '../../domain/retry/callShare.ts';
import type { CallShareStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys } from './keys.ts';
import { getRecord, parseRecord, updateRecord } from './records.ts';

const RecordSchema = z.object({
  version: z.int().positive(),
  at: z.number(),
  freeAt: z.number(),
  /** By `holderKey`: `freeAt` and `seenAt`. */
  holders: z.record(z.string(), z.tuple([z.number(), z.number()])),
});

/** Who meets others at each of so many tries comes again a little later. */
const TRIES = 5;

/**
 * A record is read, and written unless it has changed since. A write whose answer was lost is not known again: the block
 * that it took is lost, which costs a second of the model's time and never goes beyond its limit.
 */
export function createCallShareStore(table: Table): CallShareStore {
  /** Answers undefined where others were first, each time. */
  async function change<T>(
    model: string,
    record: number,
    decide: (found: CallShares | undefined) => { answer: T; shares?: CallShares | undefined },
  ): Promise<T | undefined> {
    const key = keys.callShares(model, record);
    for (let tries = 0; tries < TRIES; tries++) {
      const stored = await getRecord(table, key);
      const found = stored && parseRecord(RecordSchema, stored);
      const { answer, shares } = decide(found && { ...found, holders: asHolders(found.holders) });
      if (!shares) return answer;
      const { at, freeAt, holders } = shares;
      const compact = Object.entries(holders).map(([name, holder]) => [name, [holder.freeAt, holder.seenAt]]);
      const next = { version: (found?.version ?? 0) + 1, at, freeAt, holders: Object.fromEntries(compact) };
      const written = await updateRecord(table, key, (e) => ({
        set: Object.entries(next).map(([name, value]) => e.equals(name, value)),
        when: found ? e.equals('version', found.version) : e.absent('version'),
      }));
      if (written) return answer;
    }
    return undefined;
  }

  return {
    async take({ model, record, holder, costMs, aheadMs }, clock) {
      const key = holderKey(holder);
      return await change(model, record, (found) => {
        const { block, shares } = takeBlock(found, { key, costMs, aheadMs, now: clock.now() });
        return { answer: block, shares };
      });
    },

    async giveBack({ model, record, holder, ...back }, clock) {
      const key = holderKey(holder);
      await change(model, record, (found) => ({
        answer: undefined,
        shares: returnBlock(found, { key, ...back, now: clock.now() }),
      }));
    },
  };
}

function asHolders(compact: z.infer<typeof RecordSchema>['holders']): CallShares['holders'] {
  return Object.fromEntries(Object.entries(compact).map(([key, [freeAt, seenAt]]) => [key, { freeAt, seenAt }]));
}
