import { randomUUID } from 'node:crypto';
import { TABLE } from '../../contract/table.ts';
import { BatchDetailSchema, type BatchError, MAX_BATCH_ERRORS } from '../../domain/batch.ts';
import type { BatchStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { BATCH, keys } from './keys.ts';
import { getRecord, parseRecord, updateRecord } from './records.ts';

/** A second try is for a list that has less room than there are errors; a third would be for a race that was lost. */
const ADD_TRIES = 2;

/** The first problems of a batch, and the receipt that comes with the last word on them: on its detail. */
export function createBatchErrors(table: Table): Pick<BatchStore, 'setErrors' | 'addErrors' | 'setReceipt'> {
  return {
    async setErrors(batchId, errors) {
      const set = await updateRecord(table, keys.detail(batchId), (e) => ({
        set: [e.equals('errors', boundedErrors(errors))],
        when: `${e.exists(TABLE.partitionKey)} AND ${e.absent('receipt')}`,
      }));
      return set ? 'set' : await supersededUnlessGone(table, batchId);
    },

    async setReceipt(batchId, gathering, { receipt, errors }) {
      const set = await updateRecord(table, keys.detail(batchId), (e) => ({
        set: [
          e.equals('receipt', receipt),
          e.equals('writtenBy', gathering),
          ...(errors ? [e.equals('errors', boundedErrors(errors))] : []),
        ],
        when: `${e.exists(TABLE.partitionKey)} AND (${e.absent('writtenBy')} OR ${e.name('writtenBy')} <= ${e.value(gathering)})`,
      }));
      return set ? 'set' : await supersededUnlessGone(table, batchId);
    },

    async addErrors(batchId, errors) {
      // The SDK repeats a write whose answer was lost: the token tells that from another's, and nothing is added twice.
      const token = randomUUID();
      let more = boundedErrors(errors);
      for (let tries = 0; tries < ADD_TRIES; tries++) {
        const added = await updateRecord(table, keys.detail(batchId), (e) => ({
          set: [
            `${e.name('errors')} = list_append(${e.name('errors')}, ${e.value(more)})`,
            e.equals('errorsToken', token),
          ],
          when: [
            e.exists(TABLE.partitionKey),
            // The exact list comes with the receipt: a late worker's entries come before it, or never.
            e.absent('receipt'),
            `size(${e.name('errors')}) <= ${e.value(MAX_BATCH_ERRORS - more.length)}`,
            `(${e.absent('errorsToken')} OR ${e.name('errorsToken')} <> ${e.value(token)})`,
          ].join(' AND '),
        }));
        const record = added ?? (await getRecord(table, keys.detail(batchId)));
        const detail = record && parseRecord(BatchDetailSchema, record);
        const room = !detail || detail.receipt ? 0 : MAX_BATCH_ERRORS - detail.errors.length;
        if (room <= 0) return 'full';
        if (record?.errorsToken === token) break;
        more = more.slice(0, room);
      }
      return 'room_left';
    },
  };
}

async function supersededUnlessGone(table: Table, batchId: string): Promise<'superseded'> {
  if (await getRecord(table, keys.detail(batchId))) return 'superseded';
  throw new Error(`${BATCH}${batchId} has no detail record`);
}

/**
 * An item ends at 400 KB. 100 errors of 500 + 200 UTF-16 units (3 bytes each at most) are 210 KB; metadata (16 pairs of
 * 64 + 512) and description (4,096) add under 45 KB.
 */
const MAX_ERROR_MESSAGE = 500;
const MAX_ERROR_PARAM = 200;

export function boundedErrors(errors: BatchError[]): BatchError[] {
  return errors.slice(0, MAX_BATCH_ERRORS).map((error) => ({
    ...error,
    message: cut(error.message, MAX_ERROR_MESSAGE),
    param: error.param === null ? null : cut(error.param, MAX_ERROR_PARAM),
  }));
}

/** At most `units` UTF-16 units, with an ellipsis where something is cut; never half a character. */
function cut(text: string, units: number): string {
  if (text.length <= units) return text;
  return `${text.slice(0, units - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
