import { time } from '../../shared/contract/fields.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { getWebhookSecret } from '../../shared/usecases/getWebhookSecret.ts';

const environment = functionEnvironment('http/getWebhookSecret');
const deps = { ...systemPorts('getWebhookSecret', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };

export const handler = httpHandler('getWebhookSecret', { ...deps, ...projectCallers(deps) }, async (_, caller) => {
  const { secret, createdAt } = await getWebhookSecret(deps, caller);
  return { status: 200, body: { secret, created_at: time(createdAt) } };
});
