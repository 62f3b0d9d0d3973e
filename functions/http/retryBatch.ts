import { batchWithErrorsView } from '../../shared/contract/batchView.ts';
import { filePorts } from '../../shared/lambda/deps/files.ts';
import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { retryBatch } from '../../shared/usecases/retryBatch.ts';

const environment = functionEnvironment('http/retryBatch');
const deps = {
  ...systemPorts('retryBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
  // Two tries of 6 s at most: the batch is on the record by then, and the check starts what was not started.
  ...machinePorts(environment, { maxAttempts: 2 }),
};

export const handler = httpHandler(
  'retryBatch',
  { ...deps, ...projectCallers(deps) },
  async ({ params, body, headers }, caller) => {
    const batch = await retryBatch(deps, caller, params.batch_id, { body, idempotencyKey: headers['Idempotency-Key'] });
    return {
      status: batch.created ? 201 : 200,
      body: batchWithErrorsView(batch.head, batch.detail, deps.clock.now()),
    };
  },
);
