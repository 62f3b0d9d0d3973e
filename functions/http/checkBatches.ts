import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { operatorCallers } from '../../shared/lambda/deps/operatorCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';

const environment = functionEnvironment('http/checkBatches');
const deps = {
  ...systemPorts('checkBatches', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  // Two tries a call, so that looks that have begun do not hold up the answer; what fails is looked at again.
  ...machinePorts(environment, { maxAttempts: 2 }),
};
const callers = operatorCallers(environment.OPERATOR_KEY_SECRET_ARN);

export const handler = httpHandler('checkBatches', { ...deps, ...callers }, async () => ({
  status: 200,
  body: await checkBatches(deps),
}));
