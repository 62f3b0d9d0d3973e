import { tuneCollector } from '../../shared/lambda/collector.ts';
import { filePorts } from '../../shared/lambda/deps/files.ts';
import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';

// Like a worker it has a part of a core, and little is alive beside all that streams through it.
tuneCollector();
const environment = functionEnvironment('workflow/finalizeBatch');
const deps = {
  ...systemPorts('finalizeBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
  ...machinePorts(environment),
};

export const handler = stepHandler('finalizeBatch', deps, (input, invocation) =>
  finalizeBatch(deps, input, invocation),
);
