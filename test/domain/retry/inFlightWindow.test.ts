import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createInFlightWindow, type InFlightWindow } from '../../../shared/domain/retry/inFlightWindow.ts';

function fill(window: InFlightWindow): number[] {
  const tickets: number[] = [];
  while (window.hasRoom()) tickets.push(window.enter());
  return tickets;
}

describe('the in-flight window', () => {
  it('grows by one after a whole clean window, up to its maximum', () => {
    const window = createInFlightWindow({ start: 2, max: 4 });
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
    expect(tickets.map((ticket) => window.leave(ticket, 'overloaded')).filter(Boolean)).toHaveLength(1);
    expect(window.size).toBe(8);
    const [next] = fill(window);
    expect(window.leave(next ?? -1, 'overloaded')).toBe(true);
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
