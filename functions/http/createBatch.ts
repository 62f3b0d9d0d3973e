import { batchWithErrorsView } from '../../shared/contract/batchView.ts';
import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { createBatch } from '../../shared/usecases/createBatch.ts';

const environment = functionEnvironment('http/createBatch');
const deps = {
  ...systemPorts('createBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  // Two tries of 6 s at most: the batch is on the record by then, and the check starts what was not started.
  ...machinePorts(environment, { maxAttempts: 2 }),
};

export const handler = httpHandler(
  'createBatch',
  { ...deps, ...projectCallers(deps) },
  async ({ body, headers }, caller) => {
    const batch = await createBatch(deps, caller, { body, idempotencyKey: headers['Idempotency-Key'] });
    return {
      status: batch.created ? 201 : 200,
      body: batchWithErrorsView(batch.head, batch.detail, deps.clock.now()),
    };
  },
);
