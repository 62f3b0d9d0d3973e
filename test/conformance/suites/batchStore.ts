import * as fc from 'fast-check';
import { ulid } from 'ulid';
import { describe, expect, test } from 'vitest';
import type { BatchHead, Outcome } from '../../../shared/domain/batch.ts';
import { BATCH_STATUSES, type BatchStatus, TRANSITIONS } from '../../../shared/domain/batchStatus.ts';
import type { BatchStore, ControlStore } from '../../../shared/ports.ts';
import { aBatch, aPlan } from '../../support/records.ts';

const NOW = Date.parse('2026-01-15T11:00:00.000Z');

export type BatchStores = { batches: BatchStore; controls: ControlStore };

const outcome = (kind: Outcome['kind'], fields: Partial<Outcome> = {}): Outcome => ({
  kind,
  reason: 'all_done',
  fixedAt: NOW,
  ...fields,
});

/** What every `BatchStore` must do. `open` is called inside the tests, after the store behind it is up. */
export function batchStoreSuite(open: () => BatchStores): void {
  const created = async (fields: Partial<BatchHead> = {}, dueAt?: number) => {
    const batch = aBatch(fields, dueAt === undefined ? {} : { dueAt });
    expect(await open().batches.create(batch)).toBe('created');
    return batch.head;
  };
  /** The shortest walk to a status. */
  const walkTo = async (head: BatchHead, to: BatchStatus) => {
    const walks: Record<BatchStatus, BatchStatus[]> = {
      validating: [],
      failed: ['failed'],
      expired: ['expired'],
      in_progress: ['in_progress'],
      finalizing: ['in_progress', 'finalizing'],
      completed: ['in_progress', 'finalizing', 'completed'],
      cancelling: ['cancelling'],
      cancelled: ['cancelling', 'cancelled'],
    };
    for (const step of walks[to])
      expect(await open().batches.move(head, step, { now: NOW })).toMatchObject({ result: 'moved' });
  };

  describe('create', () => {
    test('a created batch is whole: head, detail and control are as given', async () => {
      const { batches, controls } = open();
      const batch = aBatch(
        { retryOf: 'batch_01J00000000000000000000000' },
        { detail: { description: 'Spring catalogue – größer', metadata: { team: 'shop' } } },
      );
      expect(await batches.create(batch)).toBe('created');
      expect(await batches.get(batch.head)).toEqual(batch.head);
      expect(await batches.getDetail(batch.head.batchId)).toEqual(batch.detail);
      expect(await controls.get(batch.head.batchId)).toEqual(batch.control);
    });

    test.each(['constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf'])(
      'metadata may have the key %s',
      async (key) => {
        const { batches } = open();
        const batch = aBatch({}, { detail: { metadata: { [key]: 'x' } } });
        expect(await batches.create(batch)).toBe('created');
        expect((await batches.getDetail(batch.head.batchId))?.metadata).toEqual({ [key]: 'x' });
        const listed = await batches.getDetails([batch.head.batchId]);
        expect(listed.get(batch.head.batchId)?.metadata).toEqual({ [key]: 'x' });
      },
    );

    test('what is not there is undefined', async () => {
      const { batches } = open();
      expect(await batches.get({ projectId: 'nobody', batchId: 'batch_x' })).toBeUndefined();
      expect(await batches.getDetail('batch_x')).toBeUndefined();
    });

    test('another project does not see it', async () => {
      const head = await created();
      expect(await open().batches.get({ ...head, projectId: 'somebody-else' })).toBeUndefined();
    });

    test('a second create under the same id answers exists and changes nothing', async () => {
      const { batches, controls } = open();
      const batch = aBatch();
      await batches.create(batch);
      await controls.stop(batch.head.batchId, 'cancelled');
      const again = aBatch(
        { ...batch.head, name: 'Other', createdAt: batch.head.createdAt + 5_000 },
        { detail: { description: 'other' } },
      );
      expect(await batches.create(again)).toBe('exists');
      expect(await batches.get(batch.head)).toEqual(batch.head);
      expect((await batches.getDetail(batch.head.batchId))?.description).toBeNull();
      expect(await controls.get(batch.head.batchId)).toMatchObject({ action: 'stop', reason: 'cancelled' });
    });

    test('of two creates at once under one id exactly one is created', async () => {
      const { batches } = open();
      const first = aBatch();
      const second = aBatch({ ...first.head, createdAt: first.head.createdAt + 1 });
      const results = await Promise.all([batches.create(first), batches.create(second)]);
      expect(results.toSorted()).toEqual(['created', 'exists']);
    });

    test('undefined fields are left out', async () => {
      const batch = aBatch({ outcome: undefined, usage: undefined });
      await open().batches.create(batch);
      expect(Object.keys((await open().batches.get(batch.head)) ?? {})).not.toContain('usage');
    });
  });

  describe('move', () => {
    test('sets status, time, version and the change in one go', async () => {
      const head = await created();
      const plan = aPlan();
      const requestCounts = { total: 100, completed: 0, failed: 3 };
      const moved = await open().batches.move(head, 'in_progress', {
        now: NOW,
        attempt: 1,
        change: { plan, requestCounts },
      });
      const expected = {
        ...head,
        status: 'in_progress',
        updatedAt: NOW,
        enteredAt: { validating: head.createdAt, in_progress: NOW },
        version: 1,
        plan,
        requestCounts,
      };
      expect(moved).toEqual({ result: 'moved', head: expected });
      expect(await open().batches.get(head)).toEqual(expected);
    });

    test.each(BATCH_STATUSES)('from %s it goes where the table allows and nowhere else', async (from) => {
      for (const to of BATCH_STATUSES) {
        const head = await created();
        await walkTo(head, from);
        const allowed = (TRANSITIONS[from] as readonly BatchStatus[]).includes(to);
        const { result } = await open().batches.move(head, to, { now: NOW + 1 });
        expect([to, result]).toEqual([to, allowed ? 'moved' : from === to ? 'already' : 'refused']);
        expect((await open().batches.get(head))?.status).toBe(allowed ? to : from);
      }
    });

    test('any walk of moves follows the table', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.constantFrom(...BATCH_STATUSES), { maxLength: 12 }), async (targets) => {
          const head = await created();
          let status: BatchStatus = 'validating';
          let version = 0;
          for (const to of targets) {
            const { result } = await open().batches.move(head, to, { now: NOW });
            if ((TRANSITIONS[status] as readonly BatchStatus[]).includes(to)) {
              expect(result).toBe('moved');
              status = to;
              version++;
            } else expect(result).toBe(status === to ? 'already' : 'refused');
          }
          expect(await open().batches.get(head)).toMatchObject({ status, version });
        }),
        { numRuns: 25 },
      );
    });

    test('a repeat is already done and changes nothing', async () => {
      const head = await created();
      await open().batches.move(head, 'in_progress', { now: NOW, change: { plan: aPlan({ shards: 1 }) } });
      const again = await open().batches.move(head, 'in_progress', {
        now: NOW + 9,
        change: { plan: aPlan({ shards: 7 }) },
      });
      expect(again).toMatchObject({ result: 'already', head: { updatedAt: NOW, version: 1, plan: { shards: 1 } } });
    });

    test('an unknown batch is not found', async () => {
      const ref = { projectId: 'p', batchId: 'batch_none' };
      expect(await open().batches.move(ref, 'in_progress', { now: NOW })).toEqual({ result: 'not_found' });
      expect(await open().batches.get(ref)).toBeUndefined();
    });

    test('only the ways that `from` leaves are open; a way that the table has not stays closed', async () => {
      const head = await created();
      await walkTo(head, 'cancelling');
      const fail = (from: readonly BatchStatus[]) => open().batches.move(head, 'failed', { now: NOW, from });
      expect(await fail(['validating', 'finalizing'])).toMatchObject({
        result: 'refused',
        head: { status: 'cancelling' },
      });
      expect(await fail(['completed'])).toMatchObject({ result: 'refused' });
      expect(await fail(['cancelling'])).toMatchObject({ result: 'moved', head: { status: 'failed' } });
    });

    test('the cancel keeps the attempt that it found', async () => {
      const head = await created();
      await open().batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
      await walkTo(head, 'cancelling');
      await open().batches.takeAttempt(head, 2, { idleAttempts: 0, committedAtAttempt: 0 });
      expect(await open().batches.get(head)).toMatchObject({ attempt: 3, attemptAtCancel: 2 });
      // A repeat of the move is none.
      expect(await open().batches.move(head, 'cancelling', { now: NOW + 1 })).toMatchObject({
        result: 'already',
        head: { attemptAtCancel: 2, enteredAt: { cancelling: NOW } },
      });
    });

    test('a superseded attempt is refused, even where the move has been made', async () => {
      const head = await created();
      await open().batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
      expect(await open().batches.move(head, 'in_progress', { now: NOW, attempt: 1 })).toMatchObject({
        result: 'refused',
      });
      expect(await open().batches.move(head, 'in_progress', { now: NOW, attempt: 2 })).toMatchObject({
        result: 'moved',
      });
      expect(await open().batches.move(head, 'in_progress', { now: NOW, attempt: 1 })).toMatchObject({
        result: 'refused',
        head: { status: 'in_progress', attempt: 2 },
      });
    });

    test('of two movers at once one moves and the other learns it', async () => {
      const head = await created();
      await walkTo(head, 'finalizing');
      const results = await Promise.all(
        ['a', 'b'].map((key) =>
          open().batches.move(head, 'completed', { now: NOW, change: { outputFile: { key, bytes: 1 } } }),
        ),
      );
      expect(results.map((each) => each.result).toSorted()).toEqual(['already', 'moved']);
      // Both see the same file: the loser knows that its own does not count.
      const files = results.map((each) => (each.result === 'not_found' ? undefined : each.head.outputFile?.key));
      expect(files[0]).toBe(files[1]);
    });

    test('of two movers to different statuses one is refused', async () => {
      const head = await created();
      const results = await Promise.all([
        open().batches.move(head, 'failed', { now: NOW }),
        open().batches.move(head, 'expired', { now: NOW }),
      ]);
      expect(results.map((each) => each.result).toSorted()).toEqual(['moved', 'refused']);
    });

    test('an outcome that a move brings along does not replace the one that stands', async () => {
      const head = await created();
      await open().batches.fixOutcome(head, outcome('failed', { reason: 'invalid_input' }));
      const moved = await open().batches.move(head, 'failed', { now: NOW, change: { outcome: outcome('expired') } });
      expect(moved).toMatchObject({ result: 'moved', head: { outcome: { kind: 'failed', reason: 'invalid_input' } } });
    });

    test('an outcome that a move brings along is set where there is none', async () => {
      const head = await created();
      const moved = await open().batches.move(head, 'failed', { now: NOW, change: { outcome: outcome('failed') } });
      expect(moved).toMatchObject({ head: { outcome: outcome('failed') } });
    });
  });

  describe('fixOutcome', () => {
    test('the first stands and counts as a version', async () => {
      const head = await created();
      const first = outcome('completed');
      expect(await open().batches.fixOutcome(head, first)).toEqual(first);
      expect(await open().batches.fixOutcome(head, outcome('expired'))).toEqual(first);
      expect(await open().batches.get(head)).toMatchObject({ outcome: first, version: 1, updatedAt: NOW });
    });

    test('only a cancel replaces it, and the first cancel stays', async () => {
      const head = await created();
      await open().batches.fixOutcome(head, outcome('expired'));
      const cancelled = outcome('cancelled', { reason: 'by_client', fixedAt: NOW + 1 });
      expect(await open().batches.fixOutcome(head, cancelled)).toEqual(cancelled);
      expect(await open().batches.fixOutcome(head, outcome('completed'))).toEqual(cancelled);
      expect(await open().batches.fixOutcome(head, outcome('cancelled', { reason: 'again' }))).toEqual(cancelled);
    });

    test('after the end not even a cancel does', async () => {
      const head = await created();
      await open().batches.fixOutcome(head, outcome('failed'));
      await open().batches.move(head, 'failed', { now: NOW });
      expect(await open().batches.fixOutcome(head, outcome('cancelled'))).toEqual(outcome('failed'));
    });

    test('of two at once one stands, and both are told which', async () => {
      const head = await created();
      const [first, second] = await Promise.all([
        open().batches.fixOutcome(head, outcome('completed')),
        open().batches.fixOutcome(head, outcome('expired')),
      ]);
      expect(first).toEqual(second);
    });

    test('of a superseded attempt, or from another status than it may be fixed in, it is superseded', async () => {
      const head = await created({ attempt: 2 });
      const { fixOutcome, get } = open().batches;
      expect(await fixOutcome(head, outcome('failed'), { attempt: 1 })).toBe('superseded');
      expect(await fixOutcome(head, outcome('failed'), { attempt: 2, from: ['in_progress'] })).toBe('superseded');
      expect(await get(head)).not.toHaveProperty('outcome');
      expect(await fixOutcome(head, outcome('failed'), { attempt: 2, from: ['validating'] })).toEqual(
        outcome('failed'),
      );
      expect(await fixOutcome(head, outcome('expired'), { attempt: 2 })).toEqual(outcome('failed'));
      expect(await fixOutcome(head, outcome('expired'), { attempt: 1 })).toBe('superseded');
    });

    test('throws where there is no batch, and where one ended without an outcome', async () => {
      const ref = { projectId: 'p', batchId: 'batch_none' };
      await expect(open().batches.fixOutcome(ref, outcome('failed'))).rejects.toThrow('no batch');
      const head = await created();
      await open().batches.move(head, 'failed', { now: NOW });
      await expect(open().batches.fixOutcome(head, outcome('failed'))).rejects.toThrow('ended without one');
    });
  });

  describe('setInput and setPlan', () => {
    const input = { key: 'inputs/p/b/1.jsonl', bytes: 10, etag: '"e"' };

    test('the newest attempt sets them, again and again', async () => {
      const head = await created();
      const plan = aPlan({ shards: 0, invalid: { key: 'parts/p/b/1-invalid.seg', bytes: 9, lines: 2 } });
      expect(await open().batches.setInput(head, 1, input)).toBe('set');
      expect(await open().batches.setInput(head, 1, input)).toBe('set');
      expect(await open().batches.setPlan(head, 1, plan)).toBe('set');
      expect(await open().batches.setPlan(head, 1, plan)).toBe('set');
      expect(await open().batches.get(head)).toMatchObject({ input, plan });
    });

    test('an older attempt is superseded', async () => {
      const head = await created();
      await open().batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
      expect(await open().batches.setInput(head, 1, input)).toBe('superseded');
      expect(await open().batches.setPlan(head, 1, aPlan())).toBe('superseded');
      expect(await open().batches.get(head)).not.toHaveProperty('input');
    });

    test('while validating a newer attempt replaces the plan that a dead one left', async () => {
      const head = await created();
      await open().batches.setPlan(head, 1, aPlan({ key: 'one' }));
      await open().batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 });
      expect(await open().batches.setPlan(head, 2, aPlan({ key: 'two' }))).toBe('set');
      expect((await open().batches.get(head))?.plan?.key).toBe('two');
    });

    test('a plan that workers run by stays, and so does the input', async () => {
      const head = await created();
      await open().batches.move(head, 'in_progress', { now: NOW, change: { plan: aPlan() } });
      expect(await open().batches.setPlan(head, 1, aPlan({ shards: 9 }))).toBe('superseded');
      expect(await open().batches.setPlan(head, 1, aPlan())).toBe('set');
      expect(await open().batches.setInput(head, 1, input)).toBe('superseded');
    });

    test('without a batch they are superseded', async () => {
      const ref = { projectId: 'p', batchId: 'batch_none' };
      expect(await open().batches.setInput(ref, 1, input)).toBe('superseded');
      expect(await open().batches.setPlan(ref, 1, aPlan())).toBe('superseded');
      expect(await open().batches.get(ref)).toBeUndefined();
    });
  });

  describe('counts', () => {
    test('additions of many workers at once add up, usage too', async () => {
      const head = await created();
      const usage = { inputTokens: 10, outputTokens: 4 };
      const additions = Array.from({ length: 12 }, () =>
        open().batches.addCounts(head, { completed: 2, failed: 1, usage }, NOW),
      );
      await Promise.all([...additions, open().batches.addCounts(head, { completed: 1, failed: 0 }, NOW)]);
      expect(await open().batches.get(head)).toMatchObject({
        requestCounts: { total: 0, completed: 25, failed: 12 },
        usage: { inputTokens: 120, outputTokens: 48 },
        updatedAt: NOW,
      });
    });

    test('setCounts sets exactly, and takes usage away where there is none', async () => {
      const head = await created();
      const counts = { total: 9, completed: 4, failed: 5 };
      await open().batches.setCounts(head, counts, { inputTokens: 1, outputTokens: 1 }, NOW);
      expect(await open().batches.get(head)).toMatchObject({ requestCounts: counts, usage: { inputTokens: 1 } });
      await open().batches.setCounts(head, counts, undefined, NOW);
      expect(await open().batches.get(head)).not.toHaveProperty('usage');
    });

    test('an ended batch does not change: late additions are dropped', async () => {
      const head = await created();
      await open().batches.move(head, 'failed', { now: NOW });
      const before = await open().batches.get(head);
      await open().batches.addCounts(head, { completed: 1, failed: 0 }, NOW + 1);
      await open().batches.addCounts(
        head,
        { completed: 1, failed: 0, usage: { inputTokens: 1, outputTokens: 1 } },
        NOW + 1,
      );
      await open().batches.setCounts(head, { total: 1, completed: 1, failed: 0 }, undefined, NOW + 1);
      expect(await open().batches.get(head)).toEqual(before);
    });
  });

  describe('detail', () => {
    test('errors and receipt are kept beside description and metadata', async () => {
      const batch = aBatch({}, { detail: { description: 'd', metadata: { a: 'b' } } });
      await open().batches.create(batch);
      const errors = [{ code: 'invalid_json_line', line: 3, message: 'Not JSON.', param: null }];
      const digest = { bytes: 5, sha256: 'b'.repeat(64) };
      const receipt = { lines: 2, completed: 1, failed: 1, input: digest, output: digest, errors: null };
      await open().batches.setErrors(batch.head.batchId, errors);
      expect(await open().batches.setReceipt(batch.head.batchId, 1, { receipt })).toBe('set');
      expect(await open().batches.getDetail(batch.head.batchId)).toEqual({ ...batch.detail, errors, receipt });
    });

    test('a receipt brings the last word on the errors along, and only a later gathering has another', async () => {
      const { batchId } = await created();
      const { setReceipt, setErrors, getDetail } = open().batches;
      const receipt = { lines: 1, completed: 0, failed: 1, input: null, output: null, errors: null };
      const other = { ...receipt, lines: 0, failed: 0 };
      const errors = [{ code: 'model_error', line: 1, message: 'No.', param: null }];
      expect(await setReceipt(batchId, 2, { receipt, errors })).toBe('set');
      expect(await setErrors(batchId, [])).toBe('superseded');
      expect(await setReceipt(batchId, 1, { receipt: other, errors: [] })).toBe('superseded');
      expect(await getDetail(batchId)).toMatchObject({ receipt, errors });
      expect(await setReceipt(batchId, 3, { receipt: other })).toBe('set');
      expect(await getDetail(batchId)).toMatchObject({ receipt: other, errors });
      await expect(setReceipt('batch_none', 1, { receipt })).rejects.toThrow('batch_none');
    });

    test('of too many and too long errors a bounded part is kept, and the record still fits', async () => {
      const head = await created();
      const error = { code: 'invalid_value', line: 1, message: '😀'.repeat(4_000), param: '語'.repeat(4_000) };
      await open().batches.setErrors(
        head.batchId,
        Array.from({ length: 500 }, () => error),
      );
      const errors = (await open().batches.getDetail(head.batchId))?.errors ?? [];
      expect(errors).toHaveLength(100);
      expect(errors[0]?.message.length).toBeLessThanOrEqual(500);
      expect(errors[0]?.message).toMatch(/^(😀)+…$/u);
    });

    test('failed lines are added while there is room, and never more than a hundred', async () => {
      const { batchId } = await created();
      const failed = (from: number, count: number) =>
        Array.from({ length: count }, (_, at) => ({
          code: 'model_error',
          line: from + at,
          message: 'Refused.',
          param: null,
        }));
      const lines = async () => (await open().batches.getDetail(batchId))?.errors.map(({ line }) => line);
      await open().batches.setErrors(batchId, failed(1, 2));
      expect(await open().batches.addErrors(batchId, failed(10, 3))).toBe('room_left');
      expect(await lines()).toEqual([1, 2, 10, 11, 12]);
      await Promise.all([20, 60].map((from) => open().batches.addErrors(batchId, failed(from, 30))));
      expect(await lines()).toHaveLength(65);
      expect(await open().batches.addErrors(batchId, failed(100, 500))).toBe('full');
      expect(await lines()).toHaveLength(100);
      expect((await lines())?.slice(65)).toEqual(failed(100, 35).map(({ line }) => line));
      expect(await open().batches.addErrors(batchId, failed(900, 1))).toBe('full');
      expect(await lines()).toHaveLength(100);
    });

    test('nothing is added once the receipt is written, nor where there is no batch', async () => {
      const { batchId } = await created();
      const receipt = { lines: 1, completed: 1, failed: 0, input: null, output: null, errors: null };
      const late = { code: 'model_error', line: 1, message: 'Refused.', param: null };
      await open().batches.setReceipt(batchId, 1, { receipt });
      expect(await open().batches.addErrors(batchId, [late])).toBe('full');
      expect((await open().batches.getDetail(batchId))?.errors).toEqual([]);
      expect(await open().batches.addErrors('batch_none', [late])).toBe('full');
      expect(await open().batches.getDetail('batch_none')).toBeUndefined();
    });

    test('errors of a batch that is not there throw', async () => {
      await expect(open().batches.setErrors('batch_none', [])).rejects.toThrow('batch_none');
    });

    test('many details are read at once; those that are missing are left out', async () => {
      const heads = await Promise.all(Array.from({ length: 120 }, () => created()));
      const details = await open().batches.getDetails([...heads.map((head) => head.batchId), 'batch_none']);
      expect(details.size).toBe(120);
      expect(details.get(heads[7]?.batchId ?? '')).toEqual({
        batchId: heads[7]?.batchId,
        description: null,
        metadata: {},
      });
      expect(await open().batches.getDetails([])).toEqual(new Map());
    });
  });

  describe('numbers of executions', () => {
    test('an attempt is taken once', async () => {
      const head = await created();
      const progress = { idleAttempts: 2, committedAtAttempt: 40 };
      const takers = await Promise.all([1, 2, 3].map(() => open().batches.takeAttempt(head, 1, progress)));
      expect(takers.toSorted()).toEqual(['superseded', 'superseded', 'taken']);
      expect(await open().batches.get(head)).toMatchObject({ attempt: 2, ...progress });
    });

    test('each gathering has a number of its own, and only the newest ends the batch', async () => {
      const head = await created({ status: 'finalizing', attempt: 2 });
      const { takeGathering, move } = open().batches;
      expect(await takeGathering(head, 1)).toBe('superseded');
      expect(await takeGathering(head, 2)).toBe(1);
      expect((await Promise.all([takeGathering(head, 2), takeGathering(head, 2)])).sort()).toEqual([2, 3]);
      const end = (gathering: number) => move(head, 'completed', { now: NOW, attempt: 2, gathering });
      expect(await end(1)).toMatchObject({ result: 'refused', head: { status: 'finalizing' } });
      expect(await end(3)).toMatchObject({ result: 'moved', head: { gathering: 3 } });
      expect(await end(3)).toMatchObject({ result: 'already' });
      expect(await end(2)).toMatchObject({ result: 'refused', head: { status: 'completed' } });
      expect(await takeGathering(head, 2)).toBe('superseded');
    });

    test('an ended batch gives out no more attempts', async () => {
      const head = await created();
      await open().batches.move(head, 'failed', { now: NOW });
      expect(await open().batches.takeAttempt(head, 1, { idleAttempts: 0, committedAtAttempt: 0 })).toBe('superseded');
    });

    test('a notification number is taken once, after the end as well', async () => {
      const head = await created();
      await open().batches.move(head, 'failed', { now: NOW });
      const takers = await Promise.all([1, 2].map(() => open().batches.takeNotification(head, 0)));
      expect(takers.toSorted()).toEqual(['superseded', 'taken']);
      expect(await open().batches.takeNotification(head, 1)).toBe('taken');
      expect((await open().batches.get(head))?.notification).toBe(2);
    });

    // Whoever looks on while another notification ends reads the record first, and then that it runs no more.
    test.each([
      ['delivered', { attempts: 1, lastStatus: 204 }, NOW],
      ['given up', { attempts: 2, lastStatus: 410, gaveUpAt: NOW }, undefined],
    ])('once the notification is %s no more numbers are given out', async (_, delivery, deliveredAt) => {
      const head = await created();
      await open().batches.move(head, 'failed', { now: NOW });
      expect(await open().batches.takeNotification(head, 0)).toBe('taken');
      await open().batches.setDelivery(head, { attempts: 1, lastStatus: 500 }, undefined, NOW);
      expect(await open().batches.takeNotification(head, 1)).toBe('taken');
      await open().batches.setDelivery(head, delivery, deliveredAt, NOW);
      expect(await open().batches.takeNotification(head, 2)).toBe('superseded');
      expect((await open().batches.get(head))?.notification).toBe(2);
    });

    test('an unknown batch has none', async () => {
      const ref = { projectId: 'p', batchId: 'batch_none' };
      expect(await open().batches.takeNotification(ref, 0)).toBe('superseded');
      expect(await open().batches.get(ref)).toBeUndefined();
    });
  });

  describe('delivery', () => {
    test('each attempt is kept until one delivers; that one stays', async () => {
      const head = await created();
      const failed = { attempts: 1, lastStatus: 500, nextAttemptAt: NOW + 5_000 };
      await open().batches.setDelivery(head, failed, undefined, NOW);
      expect(await open().batches.get(head)).toMatchObject({ delivery: failed, updatedAt: NOW });
      await open().batches.setDelivery(head, { attempts: 2, lastStatus: 200 }, NOW + 6_000, NOW + 6_000);
      await open().batches.setDelivery(head, { attempts: 2, lastStatus: 503 }, undefined, NOW + 7_000);
      expect(await open().batches.get(head)).toMatchObject({
        delivery: { attempts: 2, lastStatus: 200 },
        deliveredAt: NOW + 6_000,
        updatedAt: NOW + 6_000,
      });
    });

    test('an attempt that was frozen does not set back what later ones have noted, nor the giving up', async () => {
      const head = await created();
      const givenUp = { attempts: 3, lastStatus: 410, gaveUpAt: NOW + 9_000 };
      await open().batches.setDelivery(head, givenUp, undefined, NOW + 9_000);
      await open().batches.setDelivery(head, { attempts: 3, lastStatus: 500 }, undefined, NOW + 10_000);
      await open().batches.setDelivery(head, { attempts: 2, lastStatus: 500 }, undefined, NOW + 10_000);
      expect(await open().batches.get(head)).toMatchObject({ delivery: givenUp, updatedAt: NOW + 9_000 });
    });

    test('of a batch that is not there it throws', async () => {
      const ref = { projectId: 'p', batchId: 'batch_none' };
      await expect(open().batches.setDelivery(ref, { attempts: 1 }, undefined, NOW)).rejects.toThrow('batch_none');
    });
  });

  describe('due', () => {
    // The index is one for all projects: each test works in a time of its own, before all others'.
    const mine = (refs: { projectId: string; batchId: string }[], projectId: string) =>
      refs.filter((ref) => ref.projectId === projectId).map((ref) => ref.batchId);

    test('oldest first over all partitions, bounded, and nothing that is not due yet', async () => {
      const projectId = `project-${ulid()}`;
      const heads: BatchHead[] = [];
      for (let n = 0; n < 40; n++) heads.push(await created({ projectId }, 1_000 + ((n * 17) % 40)));
      const inOrder = heads
        .map((head, n) => ({ id: head.batchId, dueAt: 1_000 + ((n * 17) % 40) }))
        .toSorted((a, b) => a.dueAt - b.dueAt)
        .map((each) => each.id);
      expect(mine(await open().batches.listDue(1_039, 100), projectId)).toEqual(inOrder);
      expect(mine(await open().batches.listDue(1_019, 100), projectId)).toEqual(inOrder.slice(0, 20));
      expect(await open().batches.listDue(1_039, 7)).toEqual(
        inOrder.slice(0, 7).map((batchId) => ({ projectId, batchId })),
      );
      expect(await open().batches.listDue(999, 7)).toEqual([]);
    });

    test('a batch is due when setDue says, and off the list when it says never', async () => {
      const head = await created({}, 500);
      await open().batches.setDue(head, 700);
      expect(mine(await open().batches.listDue(600, 100), head.projectId)).toEqual([]);
      expect(mine(await open().batches.listDue(700, 100), head.projectId)).toEqual([head.batchId]);
      await open().batches.setDue(head, undefined);
      await open().batches.setDue(head, undefined);
      expect(mine(await open().batches.listDue(NOW, 1_000), head.projectId)).toEqual([]);
    });

    test('a batch that is not there does not become due', async () => {
      const ref = { projectId: `project-${ulid()}`, batchId: `batch_${ulid()}` };
      await open().batches.setDue(ref, 1);
      expect(await open().batches.get(ref)).toBeUndefined();
      expect(mine(await open().batches.listDue(NOW, 1_000), ref.projectId)).toEqual([]);
    });
  });

  describe('control', () => {
    test('the first reason stays, but a cancel replaces any', async () => {
      const head = await created();
      const { controls } = open();
      expect(await controls.get(head.batchId)).toEqual({ action: 'run', deadline: head.expiresAt });
      await controls.stop(head.batchId, 'expired');
      await controls.stop(head.batchId, 'failed');
      expect(await controls.get(head.batchId)).toMatchObject({ action: 'stop', reason: 'expired' });
      await controls.stop(head.batchId, 'cancelled');
      await controls.stop(head.batchId, 'expired');
      expect(await controls.get(head.batchId)).toEqual({
        action: 'stop',
        reason: 'cancelled',
        deadline: head.expiresAt,
      });
    });

    test('what is not there is undefined, and cannot be stopped', async () => {
      expect(await open().controls.get('batch_none')).toBeUndefined();
      await expect(open().controls.stop('batch_none', 'failed')).rejects.toThrow('batch_none');
    });
  });
}
