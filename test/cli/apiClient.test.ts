import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { ApiRefusal, ApiUnreachable, createApiClient } from '../../cli/apiClient.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** An API that scripts its answers; the last one again and again. */
async function serve(...answers: [status: number, body: string, headers?: Record<string, string>][]) {
  const requests: Pick<IncomingMessage, 'method' | 'url' | 'headers'>[] = [];
  const server = createServer((request, response: ServerResponse) => {
    requests.push(request);
    const [status, body, headers] = answers[Math.min(requests.length, answers.length) - 1] ?? [500, ''];
    request.resume().on('end', () => response.writeHead(status, headers).end(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  closing.push(close);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, close };
}

const SECRET = JSON.stringify({ secret: 'whsec_1', created_at: '2026-01-15T10:30:00.000Z', later: true });
const BUSY = JSON.stringify({ error: 'rate_limit_exceeded', message: 'Later.', code: 429 });

describe('a call', () => {
  test('goes where the table of routes says, under the root of the stage, with the key that the route wants', async () => {
    const { url, requests } = await serve([200, JSON.stringify({ keys: [], has_more: false })], [200, SECRET]);
    const client = createApiClient({ url: `${url}/stage/`, key: 'k', operatorKey: 'o' });
    await client.call('listKeys', { query: { take: '5', project_id: 'p/q', after: undefined } });
    await client.call('getWebhookSecret');
    expect(requests[0]).toMatchObject({ method: 'GET', url: '/stage/keys?take=5&project_id=p%2Fq' });
    expect(requests[0]?.headers).toMatchObject({ 'users-management-key': 'o' });
    expect(requests[0]?.headers.authorization).toBeUndefined();
    expect(requests[1]?.headers).toMatchObject({ authorization: 'Bearer k' });
  });

  test('answers as it came, with what a later API adds', async () => {
    const { url } = await serve([200, SECRET]);
    const { body } = await createApiClient({ url, key: 'k' }).call('getWebhookSecret');
    expect(body).toEqual(JSON.parse(SECRET));
  });

  test('is repeated while the API is busy', async () => {
    const { url, requests } = await serve([429, BUSY, { 'retry-after': '0' }], [503, ''], [200, SECRET]);
    await createApiClient({ url, key: 'k' }).call('getWebhookSecret');
    expect(requests).toHaveLength(3);
  });

  test('that makes something anew each time is not repeated', async () => {
    const { url, requests } = await serve([503, '{}']);
    const client = createApiClient({ url, key: 'k', operatorKey: 'o' });
    await expect(client.call('rotateWebhookSecret')).rejects.toThrow('The API answered 503');
    const body = { project_id: 'p', role: 'admin', name: 'n' } as const;
    await expect(client.call('createKey', { body })).rejects.toThrow(ApiRefusal);
    expect(requests).toHaveLength(2);
  });
});

describe('what goes wrong is said', () => {
  test.each([
    [
      400,
      '{"error":"invalid_request","message":"Wrong.","code":400,"details":[{"param":"name","message":"is required"}]}',
      'Wrong.\n  name: is required',
    ],
    [403, '{"message":"Forbidden"}', 'The API answered 403: {"message":"Forbidden"}'],
    [200, '<html>', 'This is not the answer of a batch API (getWebhookSecret)'],
    [200, '{"secret":7}', 'This is not the answer of a batch API (getWebhookSecret)'],
    [302, '', 'The API answered 302'],
  ])('%i %s', async (status, body, message) => {
    const { url } = await serve([status, body]);
    const refusal = createApiClient({ url, key: 'k' }).call('getWebhookSecret');
    await expect(refusal).rejects.toThrow(message);
    await expect(refusal).rejects.toBeInstanceOf(ApiRefusal);
  });

  test('nobody there', async () => {
    const { url, close } = await serve();
    close();
    const call = createApiClient({ url, operatorKey: 'o' }).call('createKey', {
      body: { project_id: 'p', role: 'admin', name: 'n' },
    });
    await expect(call).rejects.toThrow(`${url} cannot be reached: `);
    await expect(call).rejects.toBeInstanceOf(ApiUnreachable);
  });
});
