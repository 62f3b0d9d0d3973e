import type { CreateBatchBody } from '../contract/batchRequests.ts';
import type { Settings } from '../contract/settings.ts';
import { ApiError } from '../domain/errors.ts';
import type { Ports } from '../ports.ts';
import type { ProjectCaller } from './authenticate.ts';
import { type MadeBatch, makeBatch, newHead } from './makeBatch.ts';

type Deps = Pick<
  Ports,
  'batches' | 'openBatches' | 'idempotency' | 'uploads' | 'workflow' | 'clock' | 'ids' | 'log'
> & {
  settings: Settings;
};

/**
 * Makes a batch and starts it. Throws `invalid_request` for an upload that is not there, `conflict` for an idempotency
 * key that was used with another body, `rate_limit_exceeded`
 * where the project has as many open batches as it may.
 */
export function createBatch(
  deps: Deps,
  { projectId }: ProjectCaller,
  { body, sent, idempotencyKey }: { body: CreateBatchBody; sent?: unknown; idempotencyKey: string | undefined },
): Promise<MadeBatch> {
  return makeBatch(deps, {
    projectId,
    idempotency: idempotencyKey === undefined ? undefined : { key: idempotencyKey, asked: body, sent },
    check: (now) => checkUpload(deps, projectId, body.input_file_url, now),
    records: (batchId, now) => ({
      head: newHead({ projectId, batchId }, now, {
        name: body.name,
        type: body.type,
        callbackUrl: body.callback_url,
        inputFileUrl: body.input_file_url,
        onInvalidLine: body.on_invalid_line,
        completionWindow: body.completion_window,
      }),
      detail: { batchId, description: body.description, metadata: body.metadata, errors: [] },
    }),
  });
}

/** An upload that this project does not have can never be read: said now, not by a failed batch. */
async function checkUpload(
  { uploads }: Pick<Deps, 'uploads'>,
  projectId: string,
  inputFileUrl: string,
  now: number,
): Promise<void> {
  if (!inputFileUrl.startsWith('file://')) return;
  const fileId = inputFileUrl.slice('file://'.length);
  if ((await uploads.get(projectId, fileId, now)) !== undefined) return;
  throw new ApiError('invalid_request', 'The input file is not there.', {
    details: [{ param: 'input_file_url', message: `names no upload of this project: ${fileId}` }],
  });
}
