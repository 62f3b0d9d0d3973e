import { timeOrNull } from '../../shared/contract/fields.ts';
import { filePorts } from '../../shared/lambda/deps/files.ts';
import { machinePorts } from '../../shared/lambda/deps/machines.ts';
import { projectCallers } from '../../shared/lambda/deps/projectCallers.ts';
import { systemPorts } from '../../shared/lambda/deps/system.ts';
import { tablePorts } from '../../shared/lambda/deps/tables.ts';
import { functionEnvironment } from '../../shared/lambda/environment.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { downloadBatch, type SignedFiles } from '../../shared/usecases/downloadBatch.ts';
import { downloadPartial } from '../../shared/usecases/downloadPartial.ts';

const environment = functionEnvironment('http/downloadBatch');
const deps = {
  ...systemPorts('downloadBatch', environment.SETTINGS),
  ...tablePorts(environment.TABLE_NAME),
  ...filePorts(environment.BUCKET_NAME),
  // Two tries of 6 s at most: a download does not need a newer snapshot to answer.
  ...machinePorts(environment, { maxAttempts: 2 }),
};

// The snapshot of a small batch takes a second or two, of a large one minutes.
const NOT_YET = {
  status: 202,
  headers: { 'retry-after': '5' },
  body: { output_file_url: null, errors_file_url: null, expires_at: null, as_of: null },
} as const;
const view = ({ outputFileUrl, errorsFileUrl, expiresAt }: SignedFiles) => ({
  output_file_url: outputFileUrl,
  errors_file_url: errorsFileUrl,
  expires_at: timeOrNull(expiresAt),
});

export const handler = httpHandler('downloadBatch', { ...deps, ...projectCallers(deps) }, async (request, caller) => {
  const { batch_id } = request.params;
  if (request.query.partial === 'false')
    return { status: 200, body: view(await downloadBatch(deps, caller, batch_id)) };
  const files = await downloadPartial(deps, caller, batch_id);
  return files === 'not_yet' ? NOT_YET : { status: 200, body: { ...view(files), as_of: timeOrNull(files.asOf) } };
});
