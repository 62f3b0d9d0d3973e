import type { Delivery } from '../batch.ts';

/** A receiver may put an attempt off by a day at most: the longest pause of the schedule itself. */
export const MAX_RETRY_AFTER_SECONDS = 86_400;

export type DeliveryAnswer =
  | { kind: 'answered'; status: number; retryAfterMs?: number }
  | { kind: 'unreachable'; reason: string };

export type DeliveryDecision =
  | { kind: 'delivered'; delivery: Delivery }
  | { kind: 'wait'; delivery: Delivery; waitSeconds: number }
  | { kind: 'gave_up'; delivery: Delivery };

/**
 * What follows from the answer to an attempt. Any 2xx is delivery; 410 ends it; all else (3xx too) is tried again after
 * the schedule's pause, or later where the receiver asks for it, until the schedule has no pause left.
 */
export function decideDelivery(
  before: Delivery | undefined,
  answer: DeliveryAnswer,
  { pausesSeconds, now }: { pausesSeconds: readonly number[]; now: number },
): DeliveryDecision {
  const attempts = (before?.attempts ?? 0) + 1;
  const delivery: Delivery = {
    attempts,
    ...(answer.kind === 'answered' ? { lastStatus: answer.status } : {}),
    ...(isSuccess(answer) ? {} : { lastError: describe(answer) }),
  };
  if (isSuccess(answer)) return { kind: 'delivered', delivery };
  const pause = pausesSeconds[attempts - 1];
  const gone = answer.kind === 'answered' && answer.status === 410;
  if (gone || pause === undefined) return { kind: 'gave_up', delivery: { ...delivery, gaveUpAt: now } };
  const askedSeconds = answer.kind === 'answered' ? Math.ceil((answer.retryAfterMs ?? 0) / 1000) : 0;
  const waitSeconds = Math.max(pause, Math.min(askedSeconds, MAX_RETRY_AFTER_SECONDS));
  return { kind: 'wait', delivery: { ...delivery, nextAttemptAt: now + waitSeconds * 1000 }, waitSeconds };
}

function isSuccess(answer: DeliveryAnswer): boolean {
  return answer.kind === 'answered' && answer.status >= 200 && answer.status < 300;
}

function describe(answer: DeliveryAnswer): string {
  return answer.kind === 'answered' ? `The receiver answered ${answer.status}.` : sentence(answer.reason);
}

function sentence(reason: string): string {
  return reason.endsWith('.') ? reason : `The receiver could not be reached: ${reason}.`;
}
