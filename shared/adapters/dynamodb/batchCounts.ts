import { TABLE } from '../../contract/table.ts';
import { isEnded } from '../../domain/batchStatus.ts';
import type { BatchStore } from '../../ports.ts';
import type { Table } from './client.ts';
import type { Expression } from './expression.ts';
import { keys } from './keys.ts';
import { updateRecord } from './records.ts';
import { OPEN_STATUSES, readHead } from './storedHead.ts';

/** Times a worker's first usage may meet another's before it gives up: each meeting is a race that one of them wins. */
const FIRST_USAGE_TRIES = 3;

/** The live counts. An ended batch's are exact and stay: a late worker's addition is dropped. */
export function createBatchCounts(table: Table): Pick<BatchStore, 'addCounts' | 'setCounts'> {
  return {
    async addCounts(ref, { completed, failed, usage }, now) {
      // A lost answer makes the SDK add twice. That is within what the live counts promise (they may drift until Plan
      // and Finalize set them from the shard records), and cheaper than a token for each worker.
      const add = async (withUsage: (e: Expression) => { set: string[]; when: string[] }) =>
        await updateRecord(table, keys.head(ref), (e) => {
          const { set, when } = withUsage(e);
          return {
            set: [
              e.increase('requestCounts.completed', completed),
              e.increase('requestCounts.failed', failed),
              e.equals('updatedAt', now),
              ...set,
            ],
            when: [e.oneOf('status', OPEN_STATUSES), ...when].join(' AND '),
          };
        });
      if (!usage) {
        await add(() => ({ set: [], when: [] }));
        return;
      }
      // `usage` is absent until a model reports some, and one expression cannot both make a map and add inside it.
      for (let tries = 0; tries < FIRST_USAGE_TRIES; tries++) {
        const added = await add((e) => ({
          set: [
            e.increase('usage.inputTokens', usage.inputTokens),
            e.increase('usage.outputTokens', usage.outputTokens),
          ],
          when: [e.exists('usage')],
        }));
        if (added) return;
        if (await add((e) => ({ set: [e.equals('usage', usage)], when: [e.absent('usage')] }))) return;
        const head = await readHead(table, ref);
        if (!head || isEnded(head.status)) return;
      }
    },

    async setCounts(ref, counts, usage, now) {
      await updateRecord(table, keys.head(ref), (e) => ({
        set: [
          e.equals('requestCounts', counts),
          e.equals('updatedAt', now),
          ...(usage ? [e.equals('usage', usage)] : []),
        ],
        ...(!usage && { remove: [e.name('usage')] }),
        when: `${e.exists(TABLE.partitionKey)} AND ${e.oneOf('status', OPEN_STATUSES)}`,
      }));
    },
  };
}
