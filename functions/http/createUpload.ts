import { time } from '../../shared/contract/fields.ts';
import { filePorts } from '../../shared/lambda/deps/files.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { createUpload } from '../../shared/usecases/createUpload.ts';

const environment = functionEnvironment('http/createUpload');
const deps = {
  ...systemPorts('createUpload', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
};

export const handler = httpHandler('createUpload', { ...deps, ...projectCallers(deps) }, async ({ body }, caller) => {
  const upload = await createUpload(deps, caller, { bytes: body.bytes, contentType: body.content_type });
  return {
    status: 201,
    body: {
      id: upload.fileId,
      upload_url: upload.uploadUrl,
      input_file_url: `file://${upload.fileId}`,
      expires_at: time(upload.expiresAt),
    },
  };
});
