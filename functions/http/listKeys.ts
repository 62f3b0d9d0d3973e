import { keyView } from '../../shared/contract/keys.ts';
import { operatorCallers } from '../../shared/lambda/deps/operatorCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { listKeys } from '../../shared/usecases/listKeys.ts';

const environment = functionEnvironment('http/listKeys');
const deps = { ...systemPorts('listKeys', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };
const callers = operatorCallers(environment.OPERATOR_KEY_SECRET_ARN);

export const handler = httpHandler('listKeys', { ...deps, ...callers }, async ({ query }) => {
  const { keys, hasMore } = await listKeys(deps, query);
  return { status: 200, body: { keys: keys.map(keyView), has_more: hasMore } };
});
