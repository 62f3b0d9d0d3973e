import { randomUUID } from 'node:crypto';
import { TABLE } from '../../contract/table.ts';
import type { BatchRef } from '../../domain/batch.ts';
import { isEnded, priorStatuses } from '../../domain/batchStatus.ts';
import type { BatchStore } from '../../ports.ts';
import type { Table } from './client.ts';
import type { Expression } from './expression.ts';
import { keys } from './keys.ts';
import { getRecord, updateRecord } from './records.ts';
import { OPEN_STATUSES, parseHead, readHead } from './storedHead.ts';

/** The writes that decide who goes on: status, outcome, and the numbers of executions. */
export function createBatchMoves(
  table: Table,
): Pick<BatchStore, 'move' | 'fixOutcome' | 'takeAttempt' | 'takeGathering' | 'takeNotification'> {
  /**
   * A number is taken together with a random token. The SDK repeats a write whose answer was lost and then fails on its
   * own success; the token tells that from another's. Without it the number would be taken and nobody start its
   * execution until the next check.
   */
  async function takeNumber(
    ref: BatchRef,
    field: 'attempt' | 'notification',
    from: number,
    write: (e: Expression) => { set: string[]; when: string },
  ): Promise<'taken' | 'superseded'> {
    const token = randomUUID();
    const taken = await updateRecord(table, keys.head(ref), (e) => {
      const { set, when } = write(e);
      return {
        set: [...set, e.equals(field, from + 1), e.equals(`${field}Token`, token)],
        when: `${e.equals(field, from)} AND ${when}`,
      };
    });
    if (taken) return 'taken';
    const standing = await getRecord(table, keys.head(ref));
    return standing?.[`${field}Token`] === token ? 'taken' : 'superseded';
  }

  return {
    async move(ref, to, { now, attempt, gathering, change = {}, from: only }) {
      const { outcome, ...rest } = change;
      const from = priorStatuses(to).filter((status) => only?.includes(status) ?? true);
      // Nothing leads back to the first status, and DynamoDB takes no empty list.
      const moved =
        from.length > 0 &&
        (await updateRecord(table, keys.head(ref), (e) => ({
          set: [
            e.equals('status', to), // the list index's status is this same attribute
            e.equals(`enteredAt.${to}`, now),
            e.equals('updatedAt', now),
            e.increase('version', 1),
            ...(to === 'cancelling' ? [`${e.name('attemptAtCancel')} = ${e.name('attempt')}`] : []),
            // The outcome that stands decides the end: a move brings one along, it never replaces one.
            ...(outcome ? [e.setOnce('outcome', outcome)] : []),
            ...Object.entries(rest)
              .filter(([, value]) => value !== undefined)
              .map(([field, value]) => e.equals(field, value)),
          ],
          when: [
            e.oneOf('status', from),
            ...(attempt === undefined ? [] : [e.equals('attempt', attempt)]),
            ...(gathering === undefined ? [] : [e.equals('gathering', gathering)]),
          ].join(' AND '),
        })));
      if (moved) return { result: 'moved', head: parseHead(moved) };
      const head = await readHead(table, ref);
      if (!head) return { result: 'not_found' };
      // The table has no cycles, so a batch that is in `to` got there by this move, done once: by this very write, whose
      // answer was lost, or by a twin of it. `head` says whose files and plan count. A superseded attempt is refused
      // even then: it must not go on as if it were the newest.
      const newest =
        (attempt === undefined || head.attempt === attempt) &&
        (gathering === undefined || head.gathering === gathering);
      return { result: head.status === to && newest ? 'already' : 'refused', head };
    },

    async fixOutcome(ref, outcome, { attempt, from } = {}) {
      const fixed = await updateRecord(table, keys.head(ref), (e) => {
        const none = e.absent('outcome');
        // Only a cancel may change what stands; the first cancel stays.
        const free =
          outcome.kind === 'cancelled' ? `(${none} OR ${e.name('outcome.kind')} <> ${e.value('cancelled')})` : none;
        return {
          set: [e.equals('outcome', outcome), e.equals('updatedAt', outcome.fixedAt), e.increase('version', 1)],
          when: [
            e.oneOf('status', from ?? OPEN_STATUSES),
            free,
            ...(attempt === undefined ? [] : [e.equals('attempt', attempt)]),
          ].join(' AND '),
        };
      });
      // After a lost answer the one that stands is this one: nothing to recognize.
      const head = fixed ? parseHead(fixed) : await readHead(table, ref);
      if (!head) throw new Error(`There is no batch ${ref.batchId}`);
      // Also where an outcome stands: it is not for a superseded attempt to go on by it.
      if (attempt !== undefined && head.attempt !== attempt) return 'superseded';
      if (!fixed && from && !from.includes(head.status)) return 'superseded';
      if (!head.outcome) {
        const why = isEnded(head.status) ? 'ended without one' : 'refused it';
        throw new Error(`The outcome of ${ref.batchId} cannot be fixed: the batch ${why}`);
      }
      return head.outcome;
    },

    async takeAttempt(ref, from, { idleAttempts, committedAtAttempt, outcome }) {
      return await takeNumber(ref, 'attempt', from, (e) => ({
        set: [
          e.equals('idleAttempts', idleAttempts),
          e.equals('committedAtAttempt', committedAtAttempt),
          ...(outcome ? [e.setOnce('outcome', outcome), e.increase('version', 1)] : []),
        ],
        // An ended batch does not change: it needs no attempt.
        when: e.oneOf('status', OPEN_STATUSES),
      }));
    },

    async takeGathering(ref, attempt) {
      // Made again after a lost answer it takes the number after: one is passed over, none is given out twice.
      const taken = await updateRecord(table, keys.head(ref), (e) => ({
        set: [`${e.name('gathering')} = ${e.standingOr('gathering', 0)} + ${e.value(1)}`],
        when: `${e.equals('attempt', attempt)} AND ${e.oneOf('status', OPEN_STATUSES)}`,
      }));
      return (taken && parseHead(taken).gathering) ?? 'superseded';
    },

    async takeNotification(ref, from) {
      // `from` alone does not show that its notification is over: a check that read the record before the delivery, and
      // asks after the execution once it has ended, would take a delivered one for lost.
      return await takeNumber(ref, 'notification', from, (e) => ({
        set: [],
        when: [e.exists(TABLE.partitionKey), e.absent('deliveredAt'), e.absent('delivery.gaveUpAt')].join(' AND '),
      }));
    },
  };
}
