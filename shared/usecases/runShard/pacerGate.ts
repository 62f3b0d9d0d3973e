import type { CallPacer, PaceTicket } from '../../domain/retry/callPacer.ts';
import type { CallGate, GatedCall } from './callGate.ts';

/** Lets calls begin at the pace at which the model has been found to take them. */
export function createPacerGate(pacer: CallPacer, now: () => number): CallGate {
  const tickets = new Map<GatedCall, PaceTicket>();
  return {
    opensAt: (at) => pacer.nextAt(at),
    prepare: () => undefined,
    began(call) {
      tickets.set(call, pacer.began(call.beganAt));
    },
    ended(call, { cause, status }) {
      const ticket = tickets.get(call);
      tickets.delete(call);
      if (ticket === undefined) return;
      if (cause === 'rate_limited') pacer.ended(ticket, 'refused', now());
      // What was not answered, or by a server in trouble, says nothing of the rate that it takes.
      else if (cause === undefined || (status !== undefined && status < 500)) pacer.ended(ticket, 'accepted', now());
    },
  };
}
