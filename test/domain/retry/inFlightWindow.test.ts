import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createInFlightWindow, type InFlightWindow } from '../../../shared/domain/retry/inFlightWindow.ts';

function fill(window: InFlightWindow): number[] {
  const tickets: number[] = [];
  while (window.hasRoom()) tickets.push(window.enter());
  return tickets;
}

describe('the in-flight window', () => {
  it('grows with each clean call until its first overload, and by one a clean window from then on', () => {
    const window = createInFlightWindow({ start: 2, max: 64 });
    const round = () => {
      for (const ticket of fill(window)) window.leave(ticket, 'clean');
      return window.size;
    };
    // By half in each round: the second half of it finds the window no longer filled.
    expect([round(), round(), round(), round()]).toEqual([3, 4, 6, 8]);
    const [ticket = -1] = fill(window);
    window.leave(ticket, 'overloaded');
    expect(window).toMatchObject({ size: 4, isSteady: true });
  });

  it('goes on slowly from where another one left off', () => {
    const window = createInFlightWindow({ start: 2, max: 4, isSteady: true });
    const sizes: number[] = [];
    for (let round = 0; round < 20; round++) {
      for (const ticket of fill(window)) window.leave(ticket, 'clean');
      sizes.push(window.size);
    }
    expect(window.inFlight).toBe(0);
    expect(sizes.every((size, at) => size - (sizes[at - 1] ?? 2) <= 1)).toBe(true);
    expect(sizes.at(-1)).toBe(4);
  });

  it('does not grow while it is not filled', () => {
    const window = createInFlightWindow({ start: 16, max: 64 });
    for (let call = 0; call < 1_000; call++) window.leave(window.enter(), 'clean');
    expect(window.size).toBe(16);
  });

  it('is halved once a round trip', () => {
    const window = createInFlightWindow({ start: 16, max: 64 });
    const tickets = fill(window);
    for (const ticket of tickets) window.leave(ticket, 'overloaded');
    expect(window.size).toBe(8);
    const [next] = fill(window);
    window.leave(next ?? -1, 'overloaded');
    expect(window.size).toBe(4);
  });

  it('keeps within 1 and its maximum and never lets more in than its size, whatever happens', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 80 }),
        fc.integer({ min: 1, max: 80 }),
        fc.array(fc.constantFrom('enter', 'clean', 'overloaded', 'other'), { maxLength: 400 }),
        (start, max, events) => {
          const window = createInFlightWindow({ start, max });
          const open: number[] = [];
          for (const event of events) {
            if (event === 'enter') {
              if (window.hasRoom()) open.push(window.enter());
            } else {
              const ticket = open.shift();
              if (ticket !== undefined) window.leave(ticket, event as 'clean');
            }
            expect(window.inFlight).toBe(open.length);
            expect(window.size).toBeGreaterThanOrEqual(1);
            expect(window.size).toBeLessThanOrEqual(Math.max(1, max));
            expect(window.inFlight).toBeLessThanOrEqual(Math.max(1, max));
          }
        },
      ),
    );
  });
});
