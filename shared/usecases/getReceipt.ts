import type { Receipt } from '../domain/batch.ts';
import { isEnded } from '../domain/batchStatus.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import { findBatch } from './getBatch.ts';

/** What a batch that has ended read and wrote. Throws `conflict` until it has ended. */
export async function getReceipt(
  deps: Pick<Ports, 'batches'>,
  caller: ProjectCaller,
  batchId: string,
): Promise<Receipt> {
  const head = await findBatch(deps, caller, batchId);
  if (!isEnded(head.status))
    throw new ApiError('conflict', `The batch is ${head.status}: its receipt is there once it has ended.`);
  const receipt = (await deps.batches.getDetail(batchId))?.receipt;
  if (!receipt) throw new Error(`The ended batch ${batchId} has no receipt`);
  return receipt;
}
