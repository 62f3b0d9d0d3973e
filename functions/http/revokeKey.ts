import { keyView } from '../../shared/contract/keys.ts';
import { operatorCallers } from '../../shared/lambda/deps/operatorCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { revokeKey } from '../../shared/usecases/revokeKey.ts';

const environment = functionEnvironment('http/revokeKey');
const deps = { ...systemPorts('revokeKey', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };
const callers = operatorCallers(environment.OPERATOR_KEY_SECRET_ARN);

export const handler = httpHandler('revokeKey', { ...deps, ...callers }, async ({ params }) => ({
  status: 200,
  body: keyView(await revokeKey(deps, params.key_id)),
}));
