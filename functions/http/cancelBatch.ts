import { batchWithErrorsView } from '../../shared/contract/batchView.ts';
import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { cancelBatch } from '../../shared/usecases/cancelBatch.ts';

const environment = functionEnvironment('http/cancelBatch');
const deps = {
  ...systemPorts('cancelBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  // Two tries of 6 s at most: the cancel is on the record by then, and the check carries it out.
  ...machinePorts(environment, { maxAttempts: 2 }),
};

export const handler = httpHandler('cancelBatch', { ...deps, ...projectCallers(deps) }, async ({ params }, caller) => {
  const { head, detail } = await cancelBatch(deps, caller, params.batch_id);
  return { status: 200, body: batchWithErrorsView(head, detail, deps.clock.now()) };
});
