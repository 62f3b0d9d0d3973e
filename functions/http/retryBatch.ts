import { batchWithErrorsView } from '../../shared/contract/batchView.ts';
import { filePorts } from '../../shared/lambda/deps/files.ts';
import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { type MadeBatch, repeatedBatch } from '../../shared/usecases/makeBatch.ts';
import { retryBatch, sentRetry } from '../../shared/usecases/retryBatch.ts';

const environment = functionEnvironment('http/retryBatch');
const deps = {
  ...systemPorts('retryBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
  // Two tries of 6 s at most: the batch is on the record by then, and the check starts what was not started.
  ...machinePorts(environment, { maxAttempts: 2 }),
};

const answer = ({ head, detail, created }: MadeBatch) => ({
  status: created ? (201 as const) : (200 as const),
  body: batchWithErrorsView(head, detail, deps.clock.now()),
});

export const handler = httpHandler(
  'retryBatch',
  { ...deps, ...projectCallers(deps) },
  async ({ params, body, sent, headers }, caller) =>
    answer(await retryBatch(deps, caller, params.batch_id, { body, sent, idempotencyKey: headers['Idempotency-Key'] })),
  async ({ params, sent, idempotencyKey: key }, { projectId }) => {
    const batch = await repeatedBatch(deps, { projectId, key, sent: sentRetry(params.batch_id ?? '', sent) });
    return batch && answer(batch);
  },
);
