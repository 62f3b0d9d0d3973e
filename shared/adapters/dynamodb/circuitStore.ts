import { CircuitSchema, openedCircuit } from '../../domain/retry/circuit.ts';
import type { CircuitStore } from '../../ports.ts';
import type { Table } from './client.ts';
import type { Expression } from './expression.ts';
import { keys, ttlOf } from './keys.ts';
import { getRecord, parseRecord, type StoredRecord, updateRecord } from './records.ts';

/** An outage that nobody has looked at for so long is forgotten. */
const KEEP_MS = 2 * 86_400_000;

/**
 * One record a model. Each write says which outage it is about (`openedAt`), so that a worker that comes late changes
 * nothing of a newer one, and a write that is repeated because its answer was lost finds its own work and stops.
 */
export function createCircuitStore(table: Table): CircuitStore {
  const read = (record: StoredRecord | undefined) => record && parseRecord(CircuitSchema, record);
  const get = async (model: string) => read(await getRecord(table, keys.circuit(model)));
  const sameOutage = (e: Expression, { openedAt, failures }: { openedAt: number; failures: number }) =>
    `${e.equals('state', 'open')} AND ${e.equals('openedAt', openedAt)} AND ${e.equals('failures', failures)}`;

  return {
    get,

    async open(model, seen, now) {
      const next = openedCircuit(seen, now);
      const opened = await updateRecord(table, keys.circuit(model), (e) => ({
        set: Object.entries({ ...next, ...ttlOf(now + KEEP_MS) }).map(([name, value]) => e.equals(name, value)),
        remove: ['prober', 'probeUntil', 'closedAt'].map((name) => e.name(name)),
        when: seen ? sameOutage(e, seen) : `${e.absent('state')} OR ${e.equals('state', 'closed')}`,
      }));
      // Another worker was first, or this write's answer was lost: what stands is the circuit either way.
      return read(opened) ?? (await get(model)) ?? next;
    },

    async takeProbe(model, seen, { prober, until }, now) {
      const taken = await updateRecord(table, keys.circuit(model), (e) => {
        const free = `${e.absent('probeUntil')} OR ${e.name('probeUntil')} <= ${e.value(now)}`;
        return {
          set: [e.equals('prober', prober), e.equals('probeUntil', until)],
          when: `${sameOutage(e, seen)} AND (${free} OR ${e.equals('prober', prober)})`,
        };
      });
      return taken !== undefined;
    },

    async dropProbe(model, seen, prober) {
      await updateRecord(table, keys.circuit(model), (e) => ({
        remove: [e.name('prober'), e.name('probeUntil')],
        when: `${sameOutage(e, seen)} AND ${e.equals('prober', prober)}`,
      }));
    },

    async close(model, seen, now) {
      await updateRecord(table, keys.circuit(model), (e) => ({
        set: [e.equals('state', 'closed'), e.equals('closedAt', now)],
        remove: ['failures', 'openedAt', 'retryAt', 'prober', 'probeUntil'].map((name) => e.name(name)),
        when: `${e.equals('state', 'open')} AND ${e.equals('openedAt', seen.openedAt)}`,
      }));
    },
  };
}
