import type { BatchHead } from '../domain/batch.ts';
import { ApiError } from '../domain/errors.ts';
import { BATCH_ID } from '../domain/ids.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import type { BatchRecords } from './makeBatch.ts';

/** The caller's batch. Throws `not_found` for a malformed id and for another project's batch alike. */
export async function findBatch(
  { batches }: Pick<Ports, 'batches'>,
  { projectId }: ProjectCaller,
  batchId: string,
): Promise<BatchHead> {
  const head = BATCH_ID.test(batchId) ? await batches.get({ projectId, batchId }) : undefined;
  if (head === undefined) throw new ApiError('not_found', `No batch ${batchId.slice(0, 64)} in this project.`);
  return head;
}

export async function getBatch(
  deps: Pick<Ports, 'batches'>,
  caller: ProjectCaller,
  batchId: string,
): Promise<BatchRecords> {
  const head = await findBatch(deps, caller, batchId);
  return { head, detail: await deps.batches.getDetail(batchId) };
}
