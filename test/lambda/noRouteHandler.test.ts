import { expect, it } from 'vitest';
import { noRouteHandler } from '../../shared/lambda/noRouteHandler.ts';
import { httpEvent, lambdaContext } from '../support/httpEvents.ts';
import { recordedLog } from '../support/recordedLog.ts';

async function send(method: string, path: string, stage = '$default') {
  const handler = noRouteHandler({ log: recordedLog() });
  const result = await handler(httpEvent('$default', { method, path, stage }), lambdaContext());
  return { status: result.statusCode, allow: result.headers?.Allow, body: JSON.parse(result.body ?? '') };
}

it.each([
  ['DELETE', '/batches', 'GET, POST'],
  ['HEAD', '/batches', 'GET, POST'],
  ['OPTIONS', '/health', 'GET'],
  ['POST', '/batches/check-batches', 'GET'],
  ['PUT', '/batches/batch_1', 'GET'],
  ['GET', '/keys/key_1', 'DELETE'],
  ['BREW', '/files', 'POST'],
])('%s %s is a 405 that allows %s', async (method, path, allow) => {
  expect(await send(method, path)).toMatchObject({
    status: 405,
    allow,
    body: { error: 'method_not_allowed', code: 405 },
  });
});

it.each(['/', '/batches/', '/nothing', '/batches/a/b/c', '/v1/batches'])('%s is a 404', async (path) => {
  expect(await send('GET', path)).toMatchObject({
    status: 404,
    allow: undefined,
    body: { error: 'not_found', code: 404 },
  });
});

it('looks behind the name of a stage that is not the default', async () => {
  expect(await send('DELETE', '/prod/batches', 'prod')).toMatchObject({ status: 405 });
  expect(await send('DELETE', '/batches/batches', '$default')).toMatchObject({ status: 405, allow: 'GET' });
});
