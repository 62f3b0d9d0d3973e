import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Delivery } from '../../../shared/domain/batch.ts';
import {
  type DeliveryAnswer,
  decideDelivery,
  MAX_RETRY_AFTER_SECONDS,
} from '../../../shared/domain/notifications/schedule.ts';

const pauses = fc.array(fc.integer({ min: 1, max: 86_400 }), { minLength: 0, maxLength: 12 });
const answers: fc.Arbitrary<DeliveryAnswer> = fc.oneof(
  fc.record(
    {
      kind: fc.constant('answered' as const),
      status: fc.integer({ min: 100, max: 599 }),
      retryAfterMs: fc.nat({ max: 10 * 86_400_000 }),
    },
    { requiredKeys: ['kind', 'status'] },
  ),
  fc.record({ kind: fc.constant('unreachable' as const), reason: fc.constant('timed out') }),
);
const isDelivery = (answer: DeliveryAnswer) =>
  answer.kind === 'answered' && answer.status >= 200 && answer.status < 300;
const isGone = (answer: DeliveryAnswer) => answer.kind === 'answered' && answer.status === 410;

describe('the schedule of a notification', () => {
  test('ends, with a delivery or given up, and makes no attempt more than it has pauses for', () => {
    fc.assert(
      fc.property(pauses, fc.array(answers, { minLength: 13, maxLength: 13 }), (pausesSeconds, given) => {
        let before: Delivery | undefined;
        for (const [index, answer] of given.entries()) {
          const decision = decideDelivery(before, answer, { pausesSeconds, now: 1_000 });
          before = decision.delivery;
          expect(before.attempts).toBe(index + 1);
          if (decision.kind === 'delivered') {
            expect(isDelivery(answer)).toBe(true);
            return;
          }
          expect(isDelivery(answer)).toBe(false);
          if (decision.kind === 'gave_up') {
            expect(before.gaveUpAt).toBe(1_000);
            expect(isGone(answer) || index === pausesSeconds.length).toBe(true);
            return;
          }
          expect(isGone(answer)).toBe(false);
          const pause = pausesSeconds[index] ?? Number.NaN;
          expect(decision.waitSeconds).toBeGreaterThanOrEqual(pause);
          expect(decision.waitSeconds).toBeLessThanOrEqual(Math.max(pause, MAX_RETRY_AFTER_SECONDS));
          expect(before.nextAttemptAt).toBe(1_000 + decision.waitSeconds * 1000);
        }
        expect.unreachable('more attempts than pauses');
      }),
    );
  });

  test.each([
    ['a shorter one is not', 1_000, 300],
    ['a longer one is', 1_800_000, 1_800],
    ['one of a week is bounded', 7 * 86_400_000, MAX_RETRY_AFTER_SECONDS],
  ])('a Retry-After is honoured: %s', (_, retryAfterMs, waitSeconds) => {
    const answer = { kind: 'answered', status: 503, retryAfterMs } as const;
    expect(decideDelivery(undefined, answer, { pausesSeconds: [300], now: 0 })).toMatchObject({ waitSeconds });
  });

  test.each([301, 307, 400, 404, 429, 500])('%d is tried again', (status) => {
    const decision = decideDelivery(undefined, { kind: 'answered', status }, { pausesSeconds: [5], now: 0 });
    expect(decision).toMatchObject({ kind: 'wait', delivery: { lastStatus: status, attempts: 1 } });
  });

  test('what went wrong last is on the record, and nothing of an error before a delivery', () => {
    const failed = decideDelivery(
      undefined,
      { kind: 'unreachable', reason: 'timed out' },
      { pausesSeconds: [5], now: 0 },
    );
    expect(failed.delivery).toEqual({
      attempts: 1,
      lastError: 'The receiver could not be reached: timed out.',
      nextAttemptAt: 5_000,
    });
    const delivered = decideDelivery(
      failed.delivery,
      { kind: 'answered', status: 204 },
      { pausesSeconds: [5], now: 9 },
    );
    expect(delivered).toEqual({ kind: 'delivered', delivery: { attempts: 2, lastStatus: 204 } });
  });
});
