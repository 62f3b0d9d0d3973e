import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCallPacer } from '../../../shared/domain/retry/callPacer.ts';
import { recallPace } from '../../../shared/domain/retry/learnedPace.ts';

/** Calls whenever the pacer lets it, for so long; each is answered at once, as `server` says. */
function drive(
  pacer: ReturnType<typeof createCallPacer>,
  from: number,
  forMs: number,
  server: (now: number) => boolean,
) {
  let begun = 0;
  for (let now = from; now < from + forMs; now += 5) {
    // Without a pace the lane's window would bound it.
    for (let atOnce = 0; atOnce < 10 && pacer.nextAt(now) <= now; atOnce++) {
      const ticket = pacer.began(now);
      begun++;
      pacer.ended(ticket, server(now) ? 'accepted' : 'refused', now);
    }
  }
  return begun;
}

/** Lets through `perSecond` calls a second, spaced evenly, with a second's worth of burst. */
function bucket(perSecond: number) {
  let tokens = perSecond;
  let filledAt = 0;
  return (now: number) => {
    tokens = Math.min(perSecond, tokens + ((now - filledAt) * perSecond) / 1000);
    filledAt = now;
    if (tokens < 1) return false;
    tokens--;
    return true;
  };
}

describe('the pace of calls', () => {
  it('is none until a call is refused', () => {
    const pacer = createCallPacer();
    drive(pacer, 0, 20_000, () => true);
    expect(pacer.perSecond).toBeUndefined();
    expect(pacer.nextAt(20_000)).toBe(20_000);
  });

  it('comes near any limit, from whatever it began with', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5, max: 300 }),
        fc.option(fc.integer({ min: 2, max: 1_000 }), { nil: undefined }),
        (limit, start) => {
          const pacer = createCallPacer(start);
          const server = bucket(limit);
          drive(pacer, 0, 90_000, server);
          const begun = drive(pacer, 90_000, 30_000, server) / 30;
          expect(begun).toBeGreaterThan(0.85 * limit);
          expect(begun).toBeLessThan(1.15 * limit);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('spaces calls evenly', () => {
    const pacer = createCallPacer(10);
    const begun: number[] = [];
    // Too few answers to learn anything from.
    for (let now = 0; now < 2_000; now++) {
      if (pacer.nextAt(now) > now) continue;
      pacer.began(now);
      begun.push(now);
    }
    const gaps = begun.slice(1).map((at, index) => at - (begun[index] ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(101);
    expect(begun.length).toBeGreaterThanOrEqual(19);
    expect(begun.length).toBeLessThanOrEqual(21);
  });

  it('does not get faster while it is not used', () => {
    const pacer = createCallPacer(100);
    for (let now = 0; now < 60_000; now += 100) pacer.ended(pacer.began(now), 'accepted', now);
    expect(pacer.perSecond).toBe(100);
  });

  it('never stops altogether, whatever comes back', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 300 }), (answers) => {
        const pacer = createCallPacer();
        let now = 0;
        for (const accepted of answers) {
          now = Math.max(now + 1, Math.ceil(pacer.nextAt(now)));
          pacer.ended(pacer.began(now), accepted ? 'accepted' : 'refused', now + 100);
        }
        expect(pacer.nextAt(now) - now).toBeLessThanOrEqual(10 * 60_000);
      }),
    );
  });
});

describe('a pace that was learned', () => {
  it('is recalled by its model, for ten minutes', () => {
    const learned = { perSecond: 5, window: { size: 9, isSteady: true }, learnedAt: 1_000 };
    const memory = new Map([['default', learned]]);
    expect(recallPace(memory, 'default', 600_999)).toBe(learned);
    expect(recallPace(memory, 'default', 601_000)).toBeUndefined();
    expect(recallPace(memory, 'other', 1_000)).toBeUndefined();
  });
});
