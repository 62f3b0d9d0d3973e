import { setTimeout as sleep } from 'node:timers/promises';
import type { ProviderEntry } from '../domain/models.ts';
import type { ModelAnswer, ModelCall, ModelProvider } from '../ports.ts';
import { seededNumbers } from './seeded.ts';
import { type SimulatedAnswer, simulateAnswer, simulatedError } from './simulatedAnswers.ts';

export type SimulatorEntry = Extract<ProviderEntry, { kind: 'simulator' }>;

/** Lines in a back-off whose tries are counted; far more than one worker has. */
const MAX_COUNTED = 100_000;

/**
 * No model: answers made from the prompt and the seed. Latency and faults are drawn from the seed, the idempotency key
 * and the number of the try, so that a run can be repeated; whether a line is a bad request is the line's own fate, and
 * stays over its tries.
 */
export function createSimulator(entry: SimulatorEntry): ModelProvider {
  const { seed, dimensions, error_rates: rates } = entry;
  const [fastestMs, slowestMs] = entry.latency_ms;
  /** Failed tries of calls that will be tried again. */
  const failedTries = new Map<string, number>();

  function answer(call: ModelCall, draw: () => number): SimulatedAnswer {
    const ownFate = seededNumbers(`${seed}\nbad\n${call.idempotencyKey}`)();
    if (ownFate < rates.bad_request)
      return simulatedError(400, 'invalid_request_error', 'simulated_bad_request', 'this request is refused.');
    const fault = draw();
    if (fault < rates.rate_limited)
      return simulatedError(429, 'rate_limit_error', 'rate_limit_exceeded', 'too many requests.');
    if (fault < rates.rate_limited + rates.server_error)
      return simulatedError(500, 'server_error', 'server_error', 'the server failed.');
    return simulateAnswer(call.endpoint, call.body, { seed, dimensions });
  }

  return {
    async call(call) {
      call.signal?.throwIfAborted();
      const tries = failedTries.get(call.idempotencyKey) ?? 0;
      const draw = seededNumbers(`${seed}\n${call.idempotencyKey}\n${tries}`);
      const latencyMs = fastestMs + draw() * (slowestMs - fastestMs);
      const waitMs = Math.min(latencyMs, call.timeoutMs);
      if (waitMs > 0) await pause(waitMs, call.signal);
      if (latencyMs > call.timeoutMs) return { kind: 'timeout' };
      const { status, body } = answer(call, draw);
      if (status === 429 || status >= 500) {
        if (failedTries.size >= MAX_COUNTED) failedTries.clear();
        failedTries.set(call.idempotencyKey, tries + 1);
      } else if (tries > 0) failedTries.delete(call.idempotencyKey);
      const bytes = Buffer.from(JSON.stringify(body));
      const answered: ModelAnswer = { kind: 'answered', status, body: bytes };
      return bytes.length > call.maxAnswerBytes ? { kind: 'too_large' } : answered;
    },
  };
}

/** Rejects with the signal's own reason, as `fetch` and the other providers do. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
}
