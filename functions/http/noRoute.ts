import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { noRouteHandler } from '../../shared/lambda/noRouteHandler.ts';

const environment = functionEnvironment('http/noRoute');

/** Behind the gateway's `$default`: 404, or 405 where the path is known under another method. */
export const handler = noRouteHandler(systemPorts('noRoute', environment.SETTINGS));
