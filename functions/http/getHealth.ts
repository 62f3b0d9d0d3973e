import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';

const environment = functionEnvironment('http/getHealth');
const deps = systemPorts('getHealth', environment.SETTINGS);

export const handler = httpHandler('getHealth', deps, async () => ({
  status: 200,
  body: { status: 'ok', version: environment.SERVICE_VERSION },
}));
