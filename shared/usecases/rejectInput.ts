import type { BatchRef } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import type { InputRejected } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';

/**
 * The input cannot be used as a whole: the reason goes on the record and the batch ends as failed. Answers `end` where
 * a newer attempt, or a twin of this invocation, has gone on meanwhile: a batch that runs or has ended is not rejected.
 */
export async function rejectInput(
  deps: Pick<Ports, 'batches' | 'clock' | 'log'>,
  ref: BatchRef,
  attempt: number,
  rejected: InputRejected,
): Promise<'finalize' | 'end'> {
  const head = await deps.batches.get(ref);
  if (head?.attempt !== attempt || isEnded(head.status)) return 'end';
  if (head.status === 'cancelling') return 'finalize';
  if (head.status !== 'validating') return 'end';
  deps.log.info('The input is rejected.', { batchId: ref.batchId, code: rejected.code });
  const { code, message } = rejected;
  // Decides whether a twin of this invocation has got through meanwhile. The end knows the reason from here alone, too.
  const outcome = { kind: 'failed', reason: code, message, fixedAt: deps.clock.now() } as const;
  const standing = await deps.batches.fixOutcome(ref, outcome, { attempt, from: ['validating'] });
  if (standing === 'superseded') return 'end';
  await deps.batches.setErrors(ref.batchId, [{ code, line: null, message, param: 'input_file_url' }]);
  return 'finalize';
}
