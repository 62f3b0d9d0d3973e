/**
 * How many calls to one model may be in flight: slow start, then additive increase, multiplicative decrease, as TCP finds
 * its rate. Until the first overload +1 for each call that ended well while the window was in use; from then on +1 after
 * a whole window of them. Halved when the server says it has too much to do, once a round trip: calls that had already
 * started when the window was halved say nothing new.
 */
export type InFlightWindow = {
  readonly size: number;
  readonly inFlight: number;
  /** It has met an overload: from now on it grows slowly. */
  readonly isSteady: boolean;
  hasRoom(): boolean;
  /** Takes a place; the ticket says which calls had started before it. */
  enter(): WindowTicket;
  /** Gives the place back. */
  leave(ticket: WindowTicket, outcome: CallOutcome): void;
};

export type WindowTicket = number;
/** `clean`: the server took the call; `overloaded`: 503 or the like; `other`: says nothing about its load. */
export type CallOutcome = 'clean' | 'overloaded' | 'other';

export function createInFlightWindow(options: { start: number; max: number; isSteady?: boolean }): InFlightWindow {
  const { start, max } = options;
  let size = Math.max(1, Math.min(start, max));
  let isSteady = options.isSteady ?? false;
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
    get isSteady() {
      return isSteady;
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
      if (outcome === 'other') return;
      if (outcome === 'clean') {
        if (inUse && ticket >= halvedAt) cleanInARow++;
        if (cleanInARow >= (isSteady ? size : 1) && size < max) {
          size++;
          cleanInARow = 0;
        }
        return;
      }
      isSteady = true;
      cleanInARow = 0;
      if (ticket < halvedAt) return;
      size = Math.max(1, Math.floor(size / 2));
      halvedAt = nextTicket;
    },
  };
}
