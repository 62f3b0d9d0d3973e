import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createInFlightWindow } from '../../../shared/domain/retry/inFlightWindow.ts';
import { initialBitmap, isBitSet, setBit } from '../../../shared/domain/shard.ts';
import type { FileStore } from '../../../shared/ports.ts';
import type { GatedCall, GatedEnd } from '../../../shared/usecases/runShard/callGate.ts';
import { createModelLane, type ModelLane } from '../../../shared/usecases/runShard/modelLane.ts';
import { ShardReader } from '../../../shared/usecases/runShard/shardReader.ts';
import { planTurn } from '../../../shared/usecases/runShard/turnClock.ts';
import { createWakeUp } from '../../../shared/usecases/runShard/wakeUp.ts';
import { handClock } from '../../support/shardWorld.ts';

describe('the time of a turn', () => {
  it('leaves every call its whole timeout before the reserve, whatever the function has', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 900_000 }),
        fc.integer({ min: 1, max: 800 }),
        fc.integer({ min: 1, max: 800 }),
        (remainingMs, drainSeconds, callTimeoutSeconds) => {
          const { drainMs, reserveMs, callTimeoutMs } = planTurn(remainingMs, { drainSeconds, callTimeoutSeconds });
          expect(drainMs).toBeLessThanOrEqual(remainingMs / 2);
          expect(reserveMs).toBeGreaterThan(0);
          expect(callTimeoutMs).toBeGreaterThanOrEqual(1);
          expect(callTimeoutMs + reserveMs).toBeLessThanOrEqual(drainMs + 1);
        },
      ),
    );
  });

  it("gives Lambda's longest the settings as they are", () => {
    expect(planTurn(900_000, { drainSeconds: 330, callTimeoutSeconds: 300 })).toEqual({
      drainMs: 330_000,
      reserveMs: 15_000,
      callTimeoutMs: 300_000,
    });
  });
});

describe('a model lane', () => {
  const NOW = 1_000;
  const lane = () =>
    createModelLane({
      ...{ retryBaseMs: 1_000, retryMaxMs: 60_000, random: { next: () => 0.5 }, now: () => NOW },
      window: createInFlightWindow({ start: 8, max: 8 }),
    });

  const call = (lane: ModelLane<unknown>, end: GatedEnd, beganAt = NOW) => {
    const begun = { line: {}, beganAt } as GatedCall;
    lane.began(begun);
    lane.ended(begun, end);
  };
  const refuse = (lane: ModelLane<unknown>, times: number, retryAfterMs?: number, beganAt?: number) => {
    for (let time = 0; time < times; time++) call(lane, { cause: 'rate_limited', retryAfterMs }, beganAt);
  };

  it('goes on where a call is refused now and then, whatever the Retry-After says', () => {
    const one = lane();
    for (let round = 0; round < 5; round++) {
      refuse(one, 3, 5_000);
      call(one, {});
    }
    expect(one.canSend(NOW)).toBe(true);
  });

  it('sends nothing until the Retry-After is over, once several in a row are refused', () => {
    const one = lane();
    refuse(one, 4, 5_000);
    expect(one.canSend(5_999)).toBe(false);
    expect(one.canSend(6_000)).toBe(true);
  });

  it('pauses by itself when it is refused again and again with no success in between, ever longer', () => {
    const one = lane();
    refuse(one, 3);
    expect(one.opensAt(NOW)).toBe(0);
    refuse(one, 1);
    expect(one.opensAt(NOW)).toBe(NOW + 500);
    // Calls that were in flight with it.
    refuse(one, 20);
    expect(one.opensAt(NOW)).toBe(NOW + 500);
    refuse(one, 1, undefined, NOW + 500);
    expect(one.opensAt(NOW)).toBe(NOW + 1_000);
    call(one, {});
    refuse(one, 3);
    expect(one.opensAt(NOW)).toBe(NOW + 1_000);
  });

  it('is rejected by one 401 or a missing model, by 403 only three times in a row', () => {
    const fail = (...causes: ('unauthorized' | 'forbidden' | 'model_missing' | 'succeed')[]) => {
      const one = lane();
      for (const cause of causes)
        if (cause === 'succeed') call(one, {});
        else call(one, { cause, status: 400 });
      return one.rejected?.cause;
    };
    expect(fail('unauthorized')).toBe('unauthorized');
    expect(fail('model_missing')).toBe('model_missing');
    expect(fail('forbidden', 'forbidden')).toBeUndefined();
    expect(fail('forbidden', 'forbidden', 'succeed', 'forbidden')).toBeUndefined();
    expect(fail('forbidden', 'forbidden', 'forbidden')).toBe('forbidden');
    // The credentials are good: it is these lines that may not be answered.
    expect(fail('succeed', 'forbidden', 'forbidden', 'forbidden')).toBeUndefined();
  });
});

describe('the shard reader', () => {
  it('gives exactly the lines that are not done, with their numbers, however the bytes come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ text: fc.stringMatching(/^[a-zä]{0,12}$/), done: fc.boolean() }), { minLength: 1 }),
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom('\n', '\r\n'),
        async (lines, chunkBytes, newline) => {
          const before = Buffer.from('before\n');
          const own = Buffer.from(lines.map(({ text }) => text).join(newline));
          const file = Buffer.concat([before, own, Buffer.from(`${newline}after`)]);
          const files: Pick<FileStore, 'read'> = {
            read: async (_key, { start = 0, end = 0 } = {}) =>
              (async function* () {
                for (let at = start; at < end; at += chunkBytes)
                  yield file.subarray(at, Math.min(at + chunkBytes, end));
              })(),
          };
          const range = { shard: 0, start: before.length, end: before.length + own.length, firstLine: 2 };
          const whole = { ...range, lines: lines.length, runnable: lines.length };
          const done = initialBitmap(whole);
          lines.forEach((line, index) => {
            if (line.done) setBit(done, index);
          });
          const reader = new ShardReader(files, { key: 'k', etag: 'e' }, whole, 1_000);
          reader.leaveOut(done);
          const found: [number, string][] = [];
          while (!reader.ended) {
            const line = reader.next();
            if (line) found.push([line.line, line.content.toString()]);
            else if (!reader.ended) await reader.load();
          }
          const expected = lines.flatMap(({ text }, index) =>
            text === '' || isBitSet(done, index) ? [] : [[index + 2, text]],
          );
          expect(found).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('an input that is shorter than it was is an error', async () => {
    const files: Pick<FileStore, 'read'> = { read: async () => (async function* () {})() };
    const range = { shard: 0, start: 0, end: 10, firstLine: 1, lines: 1, runnable: 1 };
    const reader = new ShardReader(files, { key: 'k', etag: 'e' }, range, 1_000);
    await expect(reader.load()).rejects.toThrow('Read 0 of 10 bytes');
  });
});

describe('waking up', () => {
  it('loses no event, and sleeps until the earliest time', async () => {
    const time = handClock(0);
    const wake = createWakeUp(time.clock);
    wake.now();
    await wake.waitUntil(1_000);
    const woken = wake.waitUntil(500).then(() => time.clock.now());
    time.advance(499);
    time.advance(1);
    expect(await woken).toBe(500);
    wake.close();
  });
});
