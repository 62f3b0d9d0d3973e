import { batchWithErrorsView } from '../../shared/contract/batchView.ts';
import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { createBatch } from '../../shared/usecases/createBatch.ts';
import { type MadeBatch, repeatedBatch } from '../../shared/usecases/makeBatch.ts';

const environment = functionEnvironment('http/createBatch');
const deps = {
  ...systemPorts('createBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  // Two tries of 6 s at most: the batch is on the record by then, and the check starts what was not started.
  ...machinePorts(environment, { maxAttempts: 2 }),
};

const answer = ({ head, detail, created }: MadeBatch) => ({
  status: created ? (201 as const) : (200 as const),
  body: batchWithErrorsView(head, detail, deps.clock.now()),
});

export const handler = httpHandler(
  'createBatch',
  { ...deps, ...projectCallers(deps) },
  async ({ body, sent, headers }, caller) =>
    answer(await createBatch(deps, caller, { body, sent, idempotencyKey: headers['Idempotency-Key'] })),
  async ({ sent, idempotencyKey: key }, { projectId }) => {
    const batch = await repeatedBatch(deps, { projectId, key, sent });
    return batch && answer(batch);
  },
);
