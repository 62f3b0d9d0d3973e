import type { CallPacer } from '../../domain/retry/callPacer.ts';
import type { CallGate } from './callGate.ts';

/** Lets calls begin at the pace at which the model has been found to take them. */
export function createPacerGate(pacer: CallPacer, now: () => number): CallGate {
  return {
    opensAt: (at) => pacer.nextAt(at),
    prepare: () => undefined,
    began(call) {
      call.paceTicket = pacer.began(call.beganAt);
    },
    ended({ paceTicket }, { cause, status }) {
      if (paceTicket === undefined) return;
      if (cause === 'rate_limited') pacer.ended(paceTicket, 'refused', now());
      // What was not answered, or by a server in trouble, says nothing of the rate that it takes.
      else if (cause === undefined || (status !== undefined && status < 500))
        pacer.ended(paceTicket, 'accepted', now());
    },
  };
}
