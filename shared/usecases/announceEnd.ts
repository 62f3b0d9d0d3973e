import type { BatchHead } from '../domain/batch.ts';
import type { Ports } from '../ports.ts';

/**
 * Starts the next execution of the notification machine for a batch that has ended. The number is taken first, so that
 * of two that try at once only one starts an execution; a start that fails is found by the check.
 */
export async function announceEnd(
  deps: Pick<Ports, 'batches' | 'workflow' | 'log'>,
  head: BatchHead,
): Promise<'started' | 'superseded' | 'failed'> {
  if ((await deps.batches.takeNotification(head, head.notification)) === 'superseded') return 'superseded';
  try {
    const started = await deps.workflow.startNotification(head, head.notification + 1);
    // A name that was used before starts nothing: the check will take the next number.
    return started === 'started' ? 'started' : 'failed';
  } catch (error) {
    deps.log.warn('The notification was not started; the check will', { batchId: head.batchId, error });
    return 'failed';
  }
}
