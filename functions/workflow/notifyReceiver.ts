import { receiverPorts } from '../../shared/lambda/deps/network.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { notifyReceiver } from '../../shared/usecases/notifyReceiver.ts';

const environment = functionEnvironment('workflow/notifyReceiver');
const deps = {
  ...systemPorts('notifyReceiver', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...receiverPorts(environment.SETTINGS),
};

export const handler = stepHandler('notifyReceiver', deps, (input) => notifyReceiver(deps, input));
