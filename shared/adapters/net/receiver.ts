import { request } from 'undici';
import { parseRetryAfter } from '../../domain/retryAfter.ts';
import type { Receiver, ReceiverAnswer } from '../../ports.ts';
import { type GuardOptions, parseTarget } from './guard.ts';
import { createGuardedAgent } from './guardedAgent.ts';
import { describeNetworkFault } from './networkFault.ts';

/** What is read of an answer's body before it is dropped: enough for a polite receiver to finish sending. */
const DRAIN_BYTES = 64 * 1024;

/** POSTs to the clients' URLs. No redirect is followed: undici's `request` does not, and a 3xx is an answer like any. */
export function createReceiver(options: GuardOptions): Receiver {
  return {
    async post(url, { headers, body, timeoutMs }): Promise<ReceiverAnswer> {
      const deadline = AbortSignal.timeout(timeoutMs);
      // An agent a call: hours lie between calls to one receiver, and nothing may stay open in a frozen sandbox.
      // undici looks at the deadline once it is connected; until then its own clock runs, for a second longer at most.
      const agent = createGuardedAgent(options, { connectMs: timeoutMs, headMs: timeoutMs, bodyMs: timeoutMs });
      try {
        const target = parseTarget(url, options);
        const answer = await request(target, {
          dispatcher: agent,
          method: 'POST',
          headers,
          body,
          signal: deadline,
          reset: true,
        });
        const retryAfter = answer.headers['retry-after'];
        const retryAfterMs = parseRetryAfter(Array.isArray(retryAfter) ? retryAfter[0] : retryAfter, Date.now());
        await drain(answer.body);
        return {
          kind: 'answered',
          status: answer.statusCode,
          ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        };
      } catch (error) {
        return { kind: 'unreachable', reason: describeNetworkFault(error) };
      } finally {
        await agent.destroy();
      }
    },
  };
}

async function drain(body: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > DRAIN_BYTES) break;
    }
  } catch (error) {
    // The status has been received and is all that counts; a body that breaks off or dribbles changes nothing.
    if (!(error instanceof Error)) throw error;
  }
}
