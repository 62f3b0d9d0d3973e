import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BatchWithErrorsView, batchWithErrorsView } from '../../shared/contract/batchView.ts';
import { functions } from '../../shared/contract/functions.ts';
import { openApi } from '../../shared/contract/openapi.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import { ApiError } from '../../shared/domain/errors.ts';
import type { Role } from '../../shared/domain/roles.ts';
import { httpHandler } from '../../shared/lambda/httpHandler.ts';
import { cancelBatch } from '../../shared/usecases/cancelBatch.ts';
import { type BatchWorld, createTestBatch, startBatchWorld } from '../support/batchWorld.ts';
import { httpEvent, lambdaContext, type Sent } from '../support/httpEvents.ts';

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld();
});
afterAll(() => world.close());

const TIME = '2026-01-15T10:30:00.000Z';

/** The route as its function composes it, for a caller of that role; on the test's table. */
async function send(batchId: string, { role = 'owner', ...sent }: Sent & { role?: Role } = {}) {
  const authenticate = async (authorization: string | undefined) => {
    if (authorization === undefined) throw new ApiError('unauthorized', 'Who?');
    return { projectId: 'project-a', role };
  };
  const handler = httpHandler(
    'cancelBatch',
    { ...world, authenticate, admit: async () => undefined },
    async ({ params }, caller) => {
      const { head, detail } = await cancelBatch(world, caller, params.batch_id);
      return { status: 200, body: batchWithErrorsView(head, detail, world.clock.now()) };
    },
  );
  const headers = { authorization: 'Bearer good', ...sent.headers };
  const event = httpEvent('cancelBatch', { params: { batch_id: batchId }, ...sent, headers });
  const { statusCode, body } = await handler(event, lambdaContext());
  return { status: statusCode, body: JSON.parse(body ?? 'null') };
}

describe('POST /batches/{batch_id}/cancel', () => {
  test('answers the batch with its errors, cancelling, and the same again', async () => {
    const { batchId } = await createTestBatch(world);
    world.clock.time = Date.parse(TIME);
    const first = await send(batchId);
    expect(first.status).toBe(200);
    expect(BatchWithErrorsView.parse(first.body)).toMatchObject({
      id: batchId,
      status: 'cancelling',
      cancelling_at: TIME,
      cancelled_at: null,
      errors: [],
    });
    world.clock.time += 5_000;
    expect(await send(batchId)).toEqual(first);
  });

  test.each([
    ['nothing at all', {}],
    ['an empty object', { body: {} }],
    ['something that is not JSON', { rawBody: 'now!', headers: { 'content-type': 'text/plain' } }],
  ])('wants no body, and does not mind %s', async (_, sent) => {
    const { batchId } = await createTestBatch(world);
    expect(await send(batchId, sent)).toMatchObject({ status: 200, body: { status: 'cancelling' } });
  });

  test.each(['completed', 'failed', 'expired'] as const)('is a conflict for a batch that is %s', async (status) => {
    const { batchId } = await createTestBatch(world, { status });
    expect(await send(batchId)).toEqual({
      status: 409,
      body: { error: 'conflict', message: expect.stringContaining(status), code: 409 },
    });
  });

  test('is for who manages the project: others may not, and of other projects nobody sees a batch', async () => {
    const { batchId } = await createTestBatch(world);
    for (const role of ['member', 'viewer'] as const)
      expect(await send(batchId, { role })).toMatchObject({ status: 403, body: { error: 'forbidden' } });
    expect(await send(batchId, { role: 'admin' })).toMatchObject({ status: 200 });
    const other = await createTestBatch(world, { projectId: 'project-b' });
    expect(await send(other.batchId)).toMatchObject({ status: 404, body: { error: 'not_found' } });
  });

  test('stands in the OpenAPI document with no body and the statuses that it answers', () => {
    const { paths } = JSON.parse(JSON.stringify(openApi(SettingsSchema.parse({}), '1.0.0')));
    const operation = paths['/batches/{batch_id}/cancel'].post;
    expect(operation).toMatchObject({ operationId: 'cancelBatch', security: [{ project: [] }] });
    expect(operation.requestBody).toBeUndefined();
    expect(Object.keys(operation.responses)).toEqual(
      expect.arrayContaining(['200', '401', '403', '404', '409', '500']),
    );
    for (const status of ['413', '415']) expect(operation.responses).not.toHaveProperty(status);
  });

  test('may stop and start executions, and touches no file', () => {
    const { rights } = functions['http/cancelBatch'];
    expect(rights).toEqual({
      table: { heads: ['get', 'update'], batches: ['get', 'update'], apiKeys: ['get'], quotas: ['update'] },
      batchMachine: ['start', 'describe', 'stop'],
    });
  });
});
