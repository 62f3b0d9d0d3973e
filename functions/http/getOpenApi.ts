import { openApi } from '../../shared/contract/openapi.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';

const environment = functionEnvironment('http/getOpenApi');
const deps = systemPorts('getOpenApi', environment.SETTINGS);
const document = openApi(environment.SETTINGS, environment.SERVICE_VERSION);

export const handler = httpHandler('getOpenApi', deps, async () => ({ status: 200, body: document }));
