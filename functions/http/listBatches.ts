import { batchListView } from '../../shared/contract/batchListView.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { listBatches } from '../../shared/usecases/listBatches.ts';

const environment = functionEnvironment('http/listBatches');
const deps = { ...systemPorts('listBatches', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };

export const handler = httpHandler('listBatches', { ...deps, ...projectCallers(deps) }, async ({ query }, caller) => {
  const { batches, hasMore } = await listBatches(deps, caller, query);
  return { status: 200, body: batchListView(batches, hasMore, deps.clock.now()) };
});
