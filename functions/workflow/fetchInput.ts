import { filePorts } from '../../shared/lambda/deps/files.ts';
import { sourcePorts } from '../../shared/lambda/deps/network.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { fetchInput } from '../../shared/usecases/fetchInput.ts';

const environment = functionEnvironment('workflow/fetchInput');
const deps = {
  ...systemPorts('fetchInput', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
  ...sourcePorts(environment.SETTINGS, environment.BUCKET_NAME),
};

export const handler = stepHandler('fetchInput', deps, (input, invocation) => fetchInput(deps, input, invocation));
