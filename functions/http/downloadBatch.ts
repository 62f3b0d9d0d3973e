import { timeOrNull } from '../../shared/contract/fields.ts';
import { filePorts } from '../../shared/lambda/deps/files.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { downloadBatch } from '../../shared/usecases/downloadBatch.ts';

const environment = functionEnvironment('http/downloadBatch');
const deps = {
  ...systemPorts('downloadBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
};

export const handler = httpHandler(
  'downloadBatch',
  { ...deps, ...projectCallers(deps) },
  async ({ params }, caller) => {
    const files = await downloadBatch(deps, caller, params.batch_id);
    return {
      status: 200,
      body: {
        output_file_url: files.outputFileUrl,
        errors_file_url: files.errorsFileUrl,
        expires_at: timeOrNull(files.expiresAt),
      },
    };
  },
);
