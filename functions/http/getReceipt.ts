import { receiptView } from '../../shared/contract/receiptView.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { getReceipt } from '../../shared/usecases/getReceipt.ts';

const environment = functionEnvironment('http/getReceipt');
const deps = { ...systemPorts('getReceipt', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };

export const handler = httpHandler('getReceipt', { ...deps, ...projectCallers(deps) }, async ({ params }, caller) => {
  const receipt = await getReceipt(deps, caller, params.batch_id);
  return { status: 200, body: receiptView(params.batch_id, receipt) };
});
