import { filePorts } from '../../shared/lambda/deps/files.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import { snapshotBatch } from '../../shared/usecases/snapshotBatch.ts';

const environment = functionEnvironment('workflow/snapshotBatch');
const deps = {
  ...systemPorts('snapshotBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
};

export const handler = stepHandler('snapshotBatch', deps, (input, invocation) =>
  snapshotBatch(deps, input, invocation),
);
