import { keyView } from '../../shared/contract/keys.ts';
import { operatorCallers } from '../../shared/lambda/deps/operatorCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { createKey } from '../../shared/usecases/createKey.ts';

const environment = functionEnvironment('http/createKey');
const deps = { ...systemPorts('createKey', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };
const callers = operatorCallers(environment.OPERATOR_KEY_SECRET_ARN);

export const handler = httpHandler('createKey', { ...deps, ...callers }, async ({ body }) => {
  const { key, secret } = await createKey(deps, body);
  return { status: 201, body: { ...keyView(key), key: secret } };
});
