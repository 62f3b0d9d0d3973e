import { TABLE } from '../../contract/table.ts';
import { type Circuit, CircuitSchema, openedCircuit } from '../../domain/retry/circuit.ts';
import type { CircuitStore } from '../../ports.ts';
import type { Table } from './client.ts';
import { keys, ttlOf } from './keys.ts';
import { getRecord, parseRecord, type StoredRecord, updateRecord } from './records.ts';

/** An outage that nobody has looked at for so long is forgotten. */
const KEEP_MS = 2 * 86_400_000;

/** One record a model; a closed circuit is one without `failures`. */
export function createCircuitStore(table: Table): CircuitStore {
  const read = (record: StoredRecord | undefined): Circuit | undefined =>
    record?.failures === undefined ? undefined : parseRecord(CircuitSchema, record);

  async function get(model: string): Promise<Circuit | undefined> {
    return read(await getRecord(table, keys.circuit(model)));
  }

  return {
    get,

    async open(model, seen, now) {
      const next = openedCircuit(seen, now);
      const opened = await updateRecord(table, keys.circuit(model), (e) => ({
        set: Object.entries({ ...next, ...ttlOf(now + KEEP_MS) }).map(([name, value]) => e.equals(name, value)),
        remove: [e.name('probeUntil')],
        when: seen ? e.equals('failures', seen.failures) : e.absent('failures'),
      }));
      // Another worker was first, or this write's answer was lost: what stands is the circuit either way.
      return read(opened) ?? (await get(model)) ?? next;
    },

    async takeProbe(model, seen, now, until) {
      const taken = await updateRecord(table, keys.circuit(model), (e) => ({
        set: [e.equals('probeUntil', until)],
        when: `${e.equals('failures', seen.failures)} AND (${e.absent('probeUntil')} OR ${e.name('probeUntil')} <= ${e.value(now)})`,
      }));
      return taken !== undefined;
    },

    async close(model) {
      await updateRecord(table, keys.circuit(model), (e) => ({
        remove: ['failures', 'openedAt', 'retryAt', 'probeUntil'].map((name) => e.name(name)),
        when: e.exists(TABLE.partitionKey),
      }));
    },
  };
}
