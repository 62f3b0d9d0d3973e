import { time } from '../../shared/contract/fields.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { rotateWebhookSecret } from '../../shared/usecases/rotateWebhookSecret.ts';

const environment = functionEnvironment('http/rotateWebhookSecret');
const deps = { ...systemPorts('rotateWebhookSecret', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };

export const handler = httpHandler('rotateWebhookSecret', { ...deps, ...projectCallers(deps) }, async (_, caller) => {
  const { secret, createdAt } = await rotateWebhookSecret(deps, caller);
  return { status: 200, body: { secret, created_at: time(createdAt) } };
});
