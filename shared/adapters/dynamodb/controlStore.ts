import { TABLE } from '../../contract/table.ts';
import { ControlSchema } from '../../domain/control.ts';
import type { ControlStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys } from './keys.ts';
import { getRecord, parseRecord, updateRecord } from './records.ts';

/** What workers poll: one small record beside the detail. */
export function createControlStore(table: Table): ControlStore {
  return {
    async get(batchId) {
      const record = await getRecord(table, keys.control(batchId));
      return record && parseRecord(ControlSchema, record);
    },

    async stop(batchId, reason) {
      const stopped = await updateRecord(table, keys.control(batchId), (e) => {
        const there = e.exists(TABLE.partitionKey);
        return {
          set: [e.equals('action', 'stop'), e.equals('reason', reason)],
          // A cancel is the client's own word and replaces any reason; else the first stays.
          when: reason === 'cancelled' ? there : `${there} AND ${e.absent('reason')}`,
        };
      });
      // A repeat after a lost answer finds the reason there, as does a second stop: both have what they wanted.
      if (!stopped && !(await getRecord(table, keys.control(batchId))))
        throw new Error(`BATCH#${batchId} has no control record`);
    },
  };
}
