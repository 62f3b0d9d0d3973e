import type { Settings } from '../contract/settings.ts';
import type { StepInput, StepOutput } from '../contract/steps.ts';
import type { BatchHead, BatchRef } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { notificationBody, notificationId } from '../domain/notifications/event.ts';
import { decideDelivery } from '../domain/notifications/schedule.ts';
import { signatureHeaders, signingSecrets } from '../domain/notifications/signature.ts';
import type { Ports, ReceiverAnswer } from '../ports.ts';
import { getWebhookSecret } from './getWebhookSecret.ts';

type Deps = Pick<Ports, 'batches' | 'webhookSecrets' | 'receivers' | 'clock' | 'ids' | 'log'> & { settings: Settings };

/** Clocks of two hosts may differ by so much; an attempt that is due this soon is made now. */
const EARLY_MS = 1_000;

/**
 * One attempt to tell the client that its batch has ended. The pauses between attempts are the machine's Wait; the
 * count of attempts is on the record, so that an execution that was lost is gone on with by the next one.
 */
export async function notifyReceiver(
  deps: Deps,
  input: StepInput<'notifyReceiver'>,
): Promise<StepOutput<'notifyReceiver'>> {
  const { batches, clock, log, settings } = deps;
  const ref: BatchRef = { projectId: input.projectId, batchId: input.batchId };
  const wait = (seconds: number) => ({ ...input, next: 'wait' as const, waitSeconds: Math.max(1, seconds) });
  const end = { ...input, next: 'end' as const, waitSeconds: 0 };

  const head = await batches.get(ref);
  if (!head || !isEnded(head.status) || head.notification !== input.notification) return end;
  if (head.deliveredAt !== undefined || head.delivery?.gaveUpAt !== undefined) {
    await batches.setDue(ref, undefined);
    return end;
  }
  const dueInMs = (head.delivery?.nextAttemptAt ?? 0) - clock.now();
  if (dueInMs > EARLY_MS) return wait(Math.ceil(dueInMs / 1000));

  const answer = await post(deps, head);
  const now = clock.now();
  const decision = decideDelivery(head.delivery, answer, { pausesSeconds: settings.notify.pausesSeconds, now });
  const deliveredAt = decision.kind === 'delivered' ? now : undefined;
  await batches.setDelivery(ref, decision.delivery, deliveredAt, now);
  // A giving up is for the alarm, which must see it whatever the stage logs.
  log[decision.kind === 'gave_up' ? 'warn' : 'info']('Notification attempted', {
    batchId: ref.batchId,
    result: decision.kind,
    attempts: decision.delivery.attempts,
    status: decision.delivery.lastStatus,
  });
  if (decision.kind !== 'wait') {
    await batches.setDue(ref, undefined);
    return end;
  }
  // The check need not look before the machine should have woken up.
  await batches.setDue(ref, now + (decision.waitSeconds + settings.check.lookAgainSeconds) * 1000);
  return wait(decision.waitSeconds);
}

async function post(deps: Deps, head: BatchHead): Promise<ReceiverAnswer> {
  const { clock, receivers, settings } = deps;
  const secret = await getWebhookSecret(deps, head);
  const now = clock.now();
  const message = {
    id: notificationId(head.batchId),
    timestampSeconds: Math.floor(now / 1000),
    body: notificationBody(head),
  };
  return receivers.post(head.callbackUrl, {
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'user-agent': 'batch-api',
      ...signatureHeaders(message, signingSecrets(secret, now)),
    },
    body: message.body,
    timeoutMs: settings.notify.timeoutSeconds * 1000,
  });
}
