/**
 * How many calls to one model may be in flight: additive increase, multiplicative decrease, as TCP finds its rate.
 * +1 after a whole window of calls that ended well while the window was in use; halved when the server says it has
 * too much to do, once a round trip: calls that had already started when the window was halved say nothing new.
 */
export type InFlightWindow = {
  readonly size: number;
  readonly inFlight: number;
  hasRoom(): boolean;
  /** Takes a place; the ticket says which calls had started before it. */
  enter(): WindowTicket;
  /** Gives the place back. True where this overload halved the window (the first of its round trip). */
  leave(ticket: WindowTicket, outcome: CallOutcome): boolean;
};

export type WindowTicket = number;
/** `clean`: the server took the call; `overloaded`: 429 or the like; `other`: says nothing about its load. */
export type CallOutcome = 'clean' | 'overloaded' | 'other';

export function createInFlightWindow({ start, max }: { start: number; max: number }): InFlightWindow {
  let size = Math.max(1, Math.min(start, max));
  let inFlight = 0;
  let nextTicket = 0;
  /** Tickets before this one started before the last halving. */
  let halvedAt = 0;
  let cleanInARow = 0;

  return {
    get size() {
      return size;
    },
    get inFlight() {
      return inFlight;
    },
    hasRoom: () => inFlight < size,
    enter() {
      inFlight++;
      return nextTicket++;
    },
    leave(ticket, outcome) {
      // A window that is not filled proves nothing about a larger one.
      const inUse = inFlight * 2 > size;
      inFlight--;
      if (outcome === 'other') return false;
      if (outcome === 'clean') {
        if (inUse && ticket >= halvedAt) cleanInARow++;
        if (cleanInARow >= size && size < max) {
          size++;
          cleanInARow = 0;
        }
        return false;
      }
      cleanInARow = 0;
      if (ticket < halvedAt) return false;
      size = Math.max(1, Math.floor(size / 2));
      halvedAt = nextTicket;
      return true;
    },
  };
}
