import type { ListBatchesQuery } from '../contract/batchRequests.ts';
import type { BatchHead } from '../domain/batch.ts';
import type { ListedDetail, Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';

/** One page of the caller's batches, with what the detail records add to the list. */
export async function listBatches(
  { batches }: Pick<Ports, 'batches'>,
  { projectId }: ProjectCaller,
  { skip, take, order, after, status }: ListBatchesQuery,
): Promise<{ batches: { head: BatchHead; detail: ListedDetail | undefined }[]; hasMore: boolean }> {
  const page = await batches.list({
    projectId,
    take,
    order,
    ...(skip === undefined ? {} : { skip }),
    ...(after === undefined ? {} : { after }),
    ...(status === undefined ? {} : { status }),
  });
  const details = await batches.getDetails(page.batches.map((head) => head.batchId));
  return {
    batches: page.batches.map((head) => ({ head, detail: details.get(head.batchId) })),
    hasMore: page.hasMore,
  };
}
