import type { BatchHead } from '../batch.ts';
import { isEnded } from '../batchStatus.ts';

/** `webhook-id`: one a batch, whatever attempt or execution sends it, so that a receiver can drop repeats. */
export function notificationId(batchId: string): string {
  return `msg_${batchId}`;
}

/** The body (CONTRACT "Notifications"): the same bytes for every attempt, since an ended batch does not change. */
export function notificationBody(head: BatchHead): string {
  if (!isEnded(head.status)) throw new Error(`A batch that is ${head.status} has no notification`);
  const { total, completed, failed } = head.requestCounts;
  return JSON.stringify({
    event: `batch.${head.status}`,
    batch_id: head.batchId,
    status: head.status,
    completed_at: new Date(head.enteredAt[head.status] ?? head.updatedAt).toISOString(),
    has_output_file: head.outputFile !== undefined,
    has_errors_file: head.errorsFile !== undefined,
    request_counts: { total, completed, failed },
    project_id: head.projectId,
  });
}
