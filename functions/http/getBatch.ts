import { batchWithErrorsView } from '../../shared/contract/batchView.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { getBatch } from '../../shared/usecases/getBatch.ts';

const environment = functionEnvironment('http/getBatch');
const deps = { ...systemPorts('getBatch', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };

export const handler = httpHandler('getBatch', { ...deps, ...projectCallers(deps) }, async ({ params }, caller) => {
  const { head, detail } = await getBatch(deps, caller, params.batch_id);
  return { status: 200, body: batchWithErrorsView(head, detail, deps.clock.now()) };
});
