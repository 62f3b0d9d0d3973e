import { batchListView } from '../../shared/contract/batchListView.ts';
import {
  CreateBatchHeaders,
  createBatchBody,
  ListBatchesQuery,
  retryBatchBody,
} from '../../shared/contract/batchRequests.ts';
import { batchWithErrorsView } from '../../shared/contract/batchView.ts';
import { errorView } from '../../shared/contract/errorView.ts';
import { timeOrNull } from '../../shared/contract/fields.ts';
import { receiptView } from '../../shared/contract/receiptView.ts';
import { ApiError } from '../../shared/domain/errors.ts';
import { cancelBatch } from '../../shared/usecases/cancelBatch.ts';
import { createBatch } from '../../shared/usecases/createBatch.ts';
import { createUpload } from '../../shared/usecases/createUpload.ts';
import { downloadBatch, type SignedFiles } from '../../shared/usecases/downloadBatch.ts';
import { downloadPartial } from '../../shared/usecases/downloadPartial.ts';
import { getBatch } from '../../shared/usecases/getBatch.ts';
import { getReceipt } from '../../shared/usecases/getReceipt.ts';
import { getWebhookSecret } from '../../shared/usecases/getWebhookSecret.ts';
import { listBatches } from '../../shared/usecases/listBatches.ts';
import { retryBatch } from '../../shared/usecases/retryBatch.ts';
import { rotateWebhookSecret } from '../../shared/usecases/rotateWebhookSecret.ts';
import type { SimulatedPorts, Simulation } from '../simulation/simulation.ts';
import type { Answer } from '../soak/client.ts';

export type Request = { body?: unknown; idempotencyKey?: string; asOperator?: true };
type Ports = SimulatedPorts;

/**
 * The API of one project: what the functions of `functions/http` do, each call a process of its own. Throws for what
 * would be a 500, or no answer at all.
 */
export function createApi(simulation: Pick<Simulation, 'settings' | 'request' | 'check'>, projectId: string) {
  const caller = { projectId, role: 'owner' } as const;
  const { settings } = simulation;

  const signed = ({ outputFileUrl, errorsFileUrl, expiresAt }: SignedFiles) => ({
    output_file_url: outputFileUrl,
    errors_file_url: errorsFileUrl,
    expires_at: timeOrNull(expiresAt),
  });
  const withErrors = (deps: Ports, { head, detail }: Awaited<ReturnType<typeof getBatch>>) =>
    batchWithErrorsView(head, detail, deps.clock.now());
  const ofBatch = /^\/batches\/(?<id>batch_\w+)(?<rest>[^?]*)(\?(?<query>.*))?$/;

  async function route(method: string, path: string, { body, idempotencyKey }: Request): Promise<Answer> {
    const key = CreateBatchHeaders.parse({ 'Idempotency-Key': idempotencyKey })['Idempotency-Key'];
    const [base, search] = path.split('?');
    switch (`${method} ${base}`) {
      case 'POST /files':
        return simulation.request('http/createUpload', async (deps) => {
          const { bytes } = body as { bytes: number };
          const { fileId, uploadUrl } = await createUpload(deps, caller, { bytes, contentType: undefined });
          return { status: 201, body: { upload_url: uploadUrl, input_file_url: `file://${fileId}` } };
        });
      case 'POST /batches':
        return simulation.request('http/createBatch', async (deps) => {
          const asked = createBatchBody(settings).parse(body);
          const made = await createBatch(deps, caller, { body: asked, idempotencyKey: key });
          return { status: made.created ? 201 : 200, body: withErrors(deps, made) };
        });
      case 'GET /batches':
        return simulation.request('http/listBatches', async (deps) => {
          const query = ListBatchesQuery.parse(Object.fromEntries(new URLSearchParams(search)));
          const page = await listBatches(deps, caller, query);
          return { status: 200, body: batchListView(page.batches, page.hasMore, deps.clock.now()) };
        });
      case 'GET /batches/check-batches':
        return { status: 200, body: await simulation.check() };
      case 'GET /webhooks/secret':
        return simulation.request('http/getWebhookSecret', async (deps) => ({
          status: 200,
          body: { secret: (await getWebhookSecret(deps, caller)).secret },
        }));
      case 'POST /webhooks/secret/rotate':
        return simulation.request('http/rotateWebhookSecret', async (deps) => ({
          status: 200,
          body: { secret: (await rotateWebhookSecret(deps, caller)).secret },
        }));
    }
    const { id = '', rest = '', query = '' } = ofBatch.exec(path)?.groups ?? {};
    switch (`${method} ${rest}${query && `?${query}`}`) {
      case 'GET ':
        return simulation.request('http/getBatch', async (deps) => ({
          status: 200,
          body: withErrors(deps, await getBatch(deps, caller, id)),
        }));
      case 'GET /receipt':
        return simulation.request('http/getReceipt', async (deps) => ({
          status: 200,
          body: receiptView(id, await getReceipt(deps, caller, id)),
        }));
      case 'GET /download':
        return simulation.request('http/downloadBatch', async (deps) => ({
          status: 200,
          body: signed(await downloadBatch(deps, caller, id)),
        }));
      case 'GET /download?partial=true':
        return simulation.request('http/downloadBatch', async (deps) => {
          const files = await downloadPartial(deps, caller, id);
          if (files === 'not_yet') return { status: 202, body: {} };
          return { status: 200, body: { ...signed(files), as_of: timeOrNull(files.asOf) } };
        });
      case 'POST /cancel':
        return simulation.request('http/cancelBatch', async (deps) => ({
          status: 200,
          body: withErrors(deps, await cancelBatch(deps, caller, id)),
        }));
      case 'POST /retry':
        return simulation.request('http/retryBatch', async (deps) => {
          const asked = retryBatchBody(settings).parse(body);
          const made = await retryBatch(deps, caller, id, { body: asked, idempotencyKey: key });
          return { status: made.created ? 201 : 200, body: withErrors(deps, made) };
        });
    }
    throw new Error(`There is no route ${method} ${path}`);
  }

  return async (method: string, path: string, request: Request = {}): Promise<Answer> => {
    try {
      return await route(method, path, request);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { status: error.code, body: errorView(error) };
    }
  };
}
export type Api = ReturnType<typeof createApi>;
