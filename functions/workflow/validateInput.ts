import { filePorts } from '../../shared/lambda/deps/files.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { readModels } from '../../shared/lambda/models.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { validateInput } from '../../shared/usecases/validateInput.ts';

const environment = functionEnvironment('workflow/validateInput');
const deps = {
  ...systemPorts('validateInput', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
  models: readModels(),
};

export const handler = stepHandler('validateInput', deps, (input, invocation) =>
  validateInput(deps, input, invocation),
);
