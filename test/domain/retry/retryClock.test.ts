import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FAILURE_CAUSES, type FailureCause } from '../../../shared/domain/retry/failureCauses.ts';
import { decideRetry, MAX_RETRY_AFTER_MS } from '../../../shared/domain/retry/retryClock.ts';

const settings = { maxAttempts: 5, retryBaseMs: 500, retryMaxMs: 60_000 };
const fixed = (value: number) => ({ next: () => value });
const cause = fc.constantFrom(...(Object.keys(FAILURE_CAUSES) as FailureCause[]));
const below1 = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('the retry clock', () => {
  it('never sets a try at the deadline or after it, nor into the past', () => {
    fc.assert(
      fc.property(
        cause,
        fc.integer({ min: 0, max: 10 }),
        fc.integer({ min: 1, max: 2_000 }),
        fc.option(fc.integer({ min: -5, max: 10_000_000_000 }), { nil: undefined }),
        fc.integer({ min: 0, max: 1_000_000_000 }),
        fc.integer({ min: -1_000, max: 100_000_000 }),
        below1,
        (why, attempts, tries, retryAfterMs, now, left, chance) => {
          const failed = { cause: why, attempts, tries, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
          const decision = decideRetry(failed, settings, { now, deadline: now + left, random: fixed(chance) });
          if (decision.retry) {
            expect(decision.at).toBeLessThan(now + left);
            expect(decision.at).toBeGreaterThanOrEqual(now);
            expect(decision.at - now).toBeGreaterThanOrEqual(Math.min(retryAfterMs ?? 0, MAX_RETRY_AFTER_MS));
          }
        },
      ),
    );
  });

  it('draws the pause evenly from nothing up to the doubled ceiling', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), below1, (tries, chance) => {
        const ceiling = Math.min(settings.retryMaxMs, settings.retryBaseMs * 2 ** (tries - 1));
        const decision = decideRetry({ cause: 'rate_limited', attempts: 0, tries }, settings, {
          now: 0,
          deadline: Number.MAX_SAFE_INTEGER,
          random: fixed(chance),
        });
        expect(decision).toEqual({ retry: true, at: Math.ceil(chance * ceiling) });
      }),
    );
  });

  it('waits for Retry-After and adds the jitter to it', () => {
    const failed = { cause: 'rate_limited', attempts: 0, tries: 1, retryAfterMs: 7_000 } as const;
    expect(decideRetry(failed, settings, { now: 1_000, deadline: 100_000, random: fixed(0.5) })).toEqual({
      retry: true,
      at: 8_250,
    });
  });

  it('does not believe a Retry-After of hours', () => {
    const failed = { cause: 'overloaded', attempts: 1, tries: 1, retryAfterMs: 86_400_000 } as const;
    expect(decideRetry(failed, settings, { now: 0, deadline: 1e9, random: fixed(0) })).toEqual({
      retry: true,
      at: MAX_RETRY_AFTER_MS,
    });
  });

  it('a rate refusal is tried again however often, until the deadline', () => {
    const clock = { now: 0, deadline: 60_001, random: fixed(0) };
    const refused = { cause: 'rate_limited', attempts: 0, tries: 500 } as const;
    expect(decideRetry(refused, settings, clock)).toEqual({ retry: true, at: 0 });
    expect(decideRetry({ ...refused, retryAfterMs: 60_001 }, settings, clock)).toEqual({
      retry: false,
      why: 'deadline',
    });
  });

  it('gives up after the attempts, earlier for answers that cannot be used, at once for what is final', () => {
    const clock = { now: 0, deadline: 1e9, random: fixed(0) };
    const decide = (why: FailureCause, attempts: number) =>
      decideRetry({ cause: why, attempts, tries: attempts }, settings, clock);
    expect(decide('server_error', 4).retry).toBe(true);
    expect(decide('server_error', 5)).toEqual({ retry: false, why: 'attempts' });
    expect(decide('invalid_response', 2).retry).toBe(true);
    expect(decide('invalid_response', 3)).toEqual({ retry: false, why: 'attempts' });
    expect(decide('bad_request', 1)).toEqual({ retry: false, why: 'final' });
  });
});
