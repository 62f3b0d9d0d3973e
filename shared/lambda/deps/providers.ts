import { createSecretsClient } from '../../adapters/secrets/client.ts';
import { createModelKeys } from '../../adapters/secrets/modelKeys.ts';
import type { Settings } from '../../contract/settings.ts';
import type { ModelsFile } from '../../domain/models.ts';
import type { Ports } from '../../ports.ts';
import { createModelProviders } from '../../providers/modelProviders.ts';
import { metered } from '../metering.ts';

/** The port of models is named `models` too, like the file that use cases read: here it is `providers`. */
export function providerPorts(
  models: ModelsFile,
  secretArns: Record<string, string>,
  { worker }: Settings,
): { providers: Ports['models'] } {
  const keys = createModelKeys({ client: metered('secrets', createSecretsClient()), secretArns });
  return { providers: createModelProviders({ models, keys, maxSockets: worker.inFlightMax }) };
}
