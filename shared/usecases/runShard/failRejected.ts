import type { BatchHead } from '../../domain/batch.ts';
import { FAILURE_CAUSES, failureMessage } from '../../domain/retry/failureCauses.ts';
import type { Ports } from '../../ports.ts';
import type { Rejection } from './modelLane.ts';

/**
 * Every model that the batch names is refused to us: no line can succeed, so it ends now. What has a result keeps it;
 * lines that were not run say that the batch failed. The other workers see the stop.
 */
export async function failRejected(
  { batches, controls, clock, log }: Pick<Ports, 'batches' | 'controls' | 'clock' | 'log'>,
  { projectId, batchId, attempt }: BatchHead,
  { cause, status }: Rejection,
): Promise<void> {
  const reason = FAILURE_CAUSES[cause].lineErrorCode;
  const message = `${failureMessage(cause, status === undefined ? {} : { status })} The batch has no other model.`;
  const outcome = { kind: 'failed', reason, message, fixedAt: clock.now() } as const;
  const fixed = await batches.fixOutcome({ projectId, batchId }, outcome, { attempt, from: ['in_progress'] });
  // Somebody else has the batch by now.
  if (fixed === 'superseded') return;
  log.warn('batch failed: its models are refused', { batchId, reason });
  await controls.stop(batchId, 'failed');
}
