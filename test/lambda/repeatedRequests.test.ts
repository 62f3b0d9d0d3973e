import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../shared/adapters/system/clock.ts';
import { systemIds } from '../../shared/adapters/system/ids.ts';
import type { HttpEvent, HttpResult } from '../../shared/lambda/http/event.ts';
import { createKey } from '../../shared/usecases/createKey.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { httpEvent, lambdaContext, type Sent } from '../support/httpEvents.ts';
import { aBatch } from '../support/records.ts';
import { tablePortsOn } from '../support/tablePorts.ts';

/** The functions as they are deployed, on a real table: before and after a deploy that takes fewer bodies. */
let table: TestTable;
let authorization: string;
beforeAll(async () => {
  table = await startDynalite();
  const ports = { ...tablePortsOn(table), clock: systemClock, ids: systemIds };
  const { secret } = await createKey(ports, { project_id: 'acme', role: 'owner', name: 'test', expires_at: null });
  authorization = `Bearer ${secret}`;
});
afterAll(() => table.close());
afterEach(() => vi.unstubAllEnvs());

type Handler = (event: HttpEvent, context: ReturnType<typeof lambdaContext>) => Promise<HttpResult>;

async function deployed(name: 'createBatch' | 'retryBatch', settings: object) {
  const variables = {
    SETTINGS: JSON.stringify({ logLevel: 'ERROR', ...settings }),
    TABLE_NAME: table.tableName,
    BUCKET_NAME: 'none',
    BATCH_MACHINE_ARN: 'arn:aws:states:us-east-1:000000000000:stateMachine:none',
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
    // Nobody listens on port 9: the batch is made, and the check would start it.
    AWS_ENDPOINT_URL_SFN: 'http://127.0.0.1:9',
  };
  for (const [variable, value] of Object.entries(variables)) vi.stubEnv(variable, value);
  vi.resetModules();
  const { handler } = (await import(`../../functions/http/${name}.ts`)) as { handler: Handler };
  return async (sent: Sent) => {
    const headers = { authorization, ...sent.headers };
    const { statusCode, body } = await handler(httpEvent(name, { ...sent, headers }), lambdaContext());
    return { status: statusCode, body: JSON.parse(body ?? 'null') };
  };
}

const body = {
  name: 'Product descriptions',
  type: 'COMPLETIONS',
  input_file_url: 'http://127.0.0.1:9/in.jsonl',
  callback_url: 'http://127.0.0.1:9/hook',
};
const under = (key: string) => ({ 'idempotency-key': key });
const STRICT = { allowPrivateNetworks: false };
const refused = { status: 400, body: { error: 'invalid_request' } };

describe('a body that a deploy has made invalid', () => {
  test('finds the batch that it made before, under its key and with the very same body', async () => {
    const earlier = await deployed('createBatch', { allowPrivateNetworks: true });
    const made = await earlier({ body, headers: under('k') });
    expect(made.status).toBe(201);

    const later = await deployed('createBatch', STRICT);
    const again = await later({
      rawBody: JSON.stringify(body, null, 2),
      headers: { ...under('k'), 'content-type': 'application/json' },
    });
    expect(again).toMatchObject({ status: 200, body: { id: made.body.id, status: 'validating' } });
    expect(await later({ body })).toMatchObject(refused);
    expect(await later({ body, headers: under('another') })).toMatchObject(refused);
    expect(await later({ body: { ...body, name: 'x' }, headers: under('k') })).toMatchObject(refused);
    expect(await later({ body, headers: { ...under('k'), authorization: 'Bearer nobody' } })).toMatchObject({
      status: 401,
    });
  });

  test('does the same for a retry, of the same batch', async () => {
    const { idempotency, batches } = tablePortsOn(table);
    const first = aBatch({ projectId: 'acme', status: 'completed' });
    const retried = aBatch({ projectId: 'acme', retryOf: first.head.batchId });
    await batches.create(first);
    await batches.create(retried);
    const asked = { callback_url: 'http://127.0.0.1:9/other' };
    const earlier = await deployed('retryBatch', { allowPrivateNetworks: true });
    // It cannot be retried; what was retried when it could be is put there as it would have been left.
    const params = { batch_id: first.head.batchId };
    expect(await earlier({ params, body: asked })).toMatchObject({ status: 409 });
    const { hashOf } = await import('../../shared/usecases/makeBatch.ts');
    const sentHash = hashOf({ retry_of: first.head.batchId, sent: asked });
    const record = { batchId: retried.head.batchId, bodyHash: 'older', sentHash, expiresAt: Date.now() + 3_600_000 };
    await idempotency.begin('acme', 'retry', record, Date.now());

    const later = await deployed('retryBatch', STRICT);
    expect(await later({ params, body: asked, headers: under('retry') })).toMatchObject({
      status: 200,
      body: { id: retried.head.batchId, retry_of: first.head.batchId },
    });
    const other = { batch_id: retried.head.batchId };
    expect(await later({ params: other, body: asked, headers: under('retry') })).toMatchObject(refused);
  });
});
