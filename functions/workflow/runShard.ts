import { tuneCollector } from '../../shared/lambda/collector.ts';
import { filePorts } from '../../shared/lambda/deps/files.ts';
import { providerPorts } from '../../shared/lambda/deps/providers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { readModels } from '../../shared/lambda/models.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { runShard } from '../../shared/usecases/runShard.ts';

tuneCollector();
const environment = functionEnvironment('workflow/runShard');
const models = readModels();
const deps = {
  ...systemPorts('runShard', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
  ...providerPorts(models, environment.MODEL_KEY_SECRETS, environment.SETTINGS),
  models,
  // Kept from turn to turn while the sandbox is warm.
  paces: new Map(),
};

export const handler = stepHandler('runShard', deps, (input, invocation) => runShard(deps, input, invocation));
