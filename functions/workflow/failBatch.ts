import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { failBatch } from '../../shared/usecases/failBatch.ts';

const environment = functionEnvironment('workflow/failBatch');
const deps = { ...systemPorts('failBatch', environment.SETTINGS), ...tablePorts(environment.TABLE_NAME) };

export const handler = stepHandler('failBatch', deps, (input, invocation) => failBatch(deps, input, invocation));
