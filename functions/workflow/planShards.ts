import { filePorts } from '../../shared/lambda/deps/files.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { readModels } from '../../shared/lambda/models.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { planShards } from '../../shared/usecases/planShards.ts';

const environment = functionEnvironment('workflow/planShards');
const deps = {
  ...systemPorts('planShards', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
  models: readModels(),
};

export const handler = stepHandler('planShards', deps, (input, invocation) => planShards(deps, input, invocation));
