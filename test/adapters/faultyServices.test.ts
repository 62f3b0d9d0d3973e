import type { IncomingHttpHeaders, RequestListener } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { createDocumentClient } from '../../shared/adapters/dynamodb/client.ts';
import { getRecord } from '../../shared/adapters/dynamodb/records.ts';
import { createS3Client } from '../../shared/adapters/s3/client.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { createWorkflowClient } from '../../shared/adapters/sfn/client.ts';
import { createWorkflow } from '../../shared/adapters/sfn/workflow.ts';
import { LOCAL_S3 } from '../support/localS3.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

const { region, credentials } = LOCAL_S3;
let server: WebServer | undefined;
const clients: { destroy(): void }[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await server?.close();
});

type Answer = RequestListener;
/** Answers requests in this order, the last one for all that follow. A body is read before it is answered. */
async function serve(...answers: Answer[]): Promise<string> {
  let asked = 0;
  server = await startWebServer((request, response) => {
    const answer = answers[Math.min(asked++, answers.length - 1)];
    request.resume().on('end', () => answer?.(request, response));
  });
  return server.url;
}
function kept<C extends { destroy(): void }>(client: C): C {
  clients.push(client);
  return client;
}

const s3Error =
  (status: number, code: string): Answer =>
  (_, response) =>
    response
      .writeHead(status, { 'content-type': 'application/xml' })
      .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`);
const jsonError =
  (status: number, type: string): Answer =>
  (_, response) =>
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify({ __type: type }));
const json =
  (body: unknown): Answer =>
  (_, response) =>
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(body));
const reset: Answer = (request) => request.socket.destroy();
const silent: Answer = () => undefined;
const stored: Answer = (_, response) => response.writeHead(200, { etag: '"e"' }).end();

describe('S3', () => {
  const filesAt = (endpoint: string, socketTimeout = 60_000) =>
    createFileStore({
      client: kept(createS3Client({ region, credentials, endpoint, requestHandler: { socketTimeout } })),
      bucket: 'bucket',
    });

  test('is sent the CRC32 of a body, and not a SHA-256 of it as well', async () => {
    let sent: IncomingHttpHeaders = {};
    const answering =
      (body: string): Answer =>
      (request, response) => {
        sent = request.headers;
        response.writeHead(200, { etag: '"e"' }).end(body);
      };
    const deleted = '<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>';
    const files = filesAt(await serve(answering(''), answering(deleted)));
    await files.put('parts/a', '123456789');
    // The check value of CRC-32: cbf43926.
    expect(sent).toMatchObject({ 'x-amz-checksum-crc32': 'y/Q5Jg==', 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' });
    expect(sent.authorization).toMatch(/SignedHeaders=[^,]*x-amz-checksum-crc32;x-amz-content-sha256/);
    await files.delete(['parts/a']);
    expect(sent).toMatchObject({
      'x-amz-checksum-crc32': expect.any(String),
      'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    });
  });

  test.each<[string, Answer]>([
    ['slows down', s3Error(503, 'SlowDown')],
    ['fails', s3Error(500, 'InternalError')],
    ['breaks off, whether it has stored the file or not', reset],
  ])('that %s is asked again, and a third time', async (_, fault) => {
    const files = filesAt(await serve(fault, fault, stored));
    expect(await files.put('parts/a', 'body')).toEqual({ etag: '"e"', attempts: 3 });
    expect(server?.requests).toHaveLength(3);
  });

  test('that does not answer is asked again', async () => {
    const files = filesAt(await serve(silent, stored), 200);
    expect(await files.put('parts/a', 'body')).toEqual({ etag: '"e"', attempts: 2 });
  });

  test('that fails while it is read is asked for the rest', async () => {
    const half: Answer = (_, response) => {
      response.writeHead(200, { etag: '"e"', 'content-length': 10 }).write('01234');
      setTimeout(() => response.destroy(), 20);
    };
    const rest: Answer = (_, response) =>
      response.writeHead(206, { etag: '"e"', 'content-length': 5, 'content-range': 'bytes 5-9/10' }).end('56789');
    const files = filesAt(await serve(half, s3Error(503, 'SlowDown'), rest));
    expect(Buffer.from((await files.readSmall('inputs/a', 100)) ?? []).toString()).toBe('0123456789');
  });

  test('that says 200 to the end of an upload, and in its body that it failed, is asked again', async () => {
    const created: Answer = (_, response) =>
      response
        .writeHead(200)
        .end('<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>');
    const completed: Answer = (_, response) =>
      response
        .writeHead(200)
        .end('<CompleteMultipartUploadResult><ETag>"whole-2"</ETag></CompleteMultipartUploadResult>');
    const files = filesAt(await serve(created, stored, stored, s3Error(200, 'InternalError'), completed));
    const upload = await files.upload('outputs/a', { partBytes: 5 * 1024 * 1024 });
    await upload.write(Buffer.alloc(6 * 1024 * 1024));
    expect(await upload.complete()).toEqual({ bytes: 6 * 1024 * 1024, etag: '"whole-2"' });
  });
});

describe('DynamoDB', () => {
  const tableAt = (endpoint: string, requestTimeout = 8_000) => ({
    client: kept(
      createDocumentClient({
        region,
        credentials,
        endpoint,
        requestHandler: { requestTimeout, throwOnRequestTimeout: true },
      }),
    ),
    tableName: 'table',
  });
  const found = json({ Item: { pk: { S: 'p' }, sk: { S: 's' } } });

  test.each<[string, Answer]>([
    ['throttles', jsonError(400, 'ProvisionedThroughputExceededException')],
    ['throttles the account', jsonError(400, 'RequestLimitExceeded')],
    ['fails', jsonError(500, 'InternalServerError')],
    ['breaks off', reset],
  ])('that %s is asked again', async (_, fault) => {
    const table = tableAt(await serve(fault, found));
    expect(await getRecord(table, { pk: 'p', sk: 's' })).toEqual({ pk: 'p', sk: 's' });
  });

  test('that does not answer is asked again', async () => {
    const table = tableAt(await serve(silent, found), 200);
    expect(await getRecord(table, { pk: 'p', sk: 's' })).toEqual({ pk: 'p', sk: 's' });
  });
});

describe('Step Functions', () => {
  const ref = { projectId: 'p', batchId: 'batch_1' };
  const workflowAt = (endpoint: string, requestTimeout = 5_000) =>
    createWorkflow({
      client: kept(
        createWorkflowClient({
          region,
          credentials,
          endpoint,
          requestHandler: { requestTimeout, throwOnRequestTimeout: true },
        }),
      ),
      batchMachineArn: 'arn:aws:states:us-east-1:000000000000:stateMachine:batch',
      notificationMachineArn: 'arn:aws:states:us-east-1:000000000000:stateMachine:notification',
      snapshotMachineArn: 'arn:aws:states:us-east-1:000000000000:stateMachine:snapshot',
    });
  const started = json({ executionArn: 'arn', startDate: 1 });

  test.each<[string, Answer]>([
    ['throttles', jsonError(400, 'ThrottlingException')],
    ['is unavailable', jsonError(503, 'ServiceUnavailable')],
    // The same name with the same input answers the execution that runs.
    ['breaks off, whether it has started the execution or not', reset],
  ])('that %s is asked again by the same name', async (_, fault) => {
    const workflow = workflowAt(await serve(fault, started));
    expect(await workflow.startBatch(ref, 1)).toBe('started');
    expect(server?.requests).toHaveLength(2);
  });

  test('that started an execution which has ended by the time it is asked again says already', async () => {
    const workflow = workflowAt(await serve(silent, jsonError(400, 'ExecutionAlreadyExists')), 200);
    expect(await workflow.startNotification(ref, 1)).toBe('already');
  });
});

test.each([
  ['S3', () => createS3Client({ region })],
  ['DynamoDB', () => createDocumentClient({ region })],
  ['Step Functions', () => createWorkflowClient({ region })],
])('%s is tried six times, not for ever', async (_, create) => {
  expect(await kept(create()).config.maxAttempts()).toBe(6);
});
