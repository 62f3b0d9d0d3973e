import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readAssembly } from '../../local/template/assembly.ts';
import { createBatchClient } from '../support/batchClient.ts';
import { missingRights } from '../support/callWatch.ts';
import { CANARIES, leaksIn, leaksInFolder, SIGNED_QUERY } from '../support/canaries.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { chatAnswer, type ModelReply, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

/** What everything leaves behind: log lines, histories, and the calls by which its rights are held against its roles. */

const [good, bad] = [200, 400];
const FORBIDDEN = { action: 'dynamodb:GetItem', resource: 'table APIKEY#0123' };
let run: TestRun;
let web: WebServer;
let client: ReturnType<typeof createBatchClient>;
let ids: { first: string; url: string; gzip: string; cancelled: string; retried: string };
let resources: Parameters<typeof missingRights>[1];
let asked: string[];
let output: string;
let logs: Record<string, unknown>[];
let rawLogs: string;

const line = (kind: string, more: Record<string, unknown> = {}) =>
  JSON.stringify({
    custom_id: `${kind} ${CANARIES.prompt}`,
    method: 'POST',
    url: '/agents/a/invoke',
    body: { input: kind, ...more },
  });

/** A model that fails in many ways, and quotes what it was asked. */
function scripted(prompt: string, attempt: number): ModelReply {
  const told = JSON.stringify({ error: { message: `cannot do: ${prompt}` } });
  if (prompt.startsWith('refuse')) return { status: bad, body: told, headers: { 'x-answer': CANARIES.answer } };
  if (prompt.startsWith('broken')) return { status: good, body: `not JSON ${prompt}` };
  if (prompt.startsWith('large')) return { status: good, body: chatAnswer(CANARIES.answer.repeat(10_000)) };
  if (prompt.startsWith('flaky') && attempt < 2) return { status: 500, body: told };
  if (prompt.startsWith('busy') && attempt < 2) return { status: 429, body: told, headers: { 'retry-after': '1' } };
  if (prompt.startsWith('late')) return { status: good, body: chatAnswer(prompt), afterMs: 60_000 };
  return { status: good, body: chatAnswer(`echo ${prompt}`) };
}

beforeAll(async () => {
  const model = await startModelServer((request) => scripted(promptOf(request), request.attempt));
  const receiver = await startTestReceiver([500, 204]);
  web = await startWebServer((request, response) => {
    if (request.url?.startsWith('/input')) response.end(`${line('by URL')}\n`);
    else response.writeHead(403).end(CANARIES.answer);
  });
  run = await startTestRun({
    watchRights: true,
    modelsFile: writeModels({
      providers: { paid: { kind: 'openai', base_url: model.baseUrl, api_key: true } },
      models: {
        default: {
          provider: 'paid',
          model: 'm',
          endpoints: ['chat/completions'],
          limits: { requests_per_minute: 60_000 },
        },
      },
      agents: { '*': { model: 'default', instructions: `Be kind. ${CANARIES.prompt}` } },
    }),
    settings: {
      ...TEST_SETTINGS,
      limits: { answerBytes: 100_000 },
      worker: { ...TEST_SETTINGS.worker, maxAttempts: 2 },
    },
  });
  client = createBatchClient(run.url, run.apiKey);
  const fields = { type: 'COMPLETIONS', callback_url: receiver.url, metadata: { [CANARIES.prompt]: CANARIES.prompt } };

  // The API as it should be used.
  const lines = ['one', 'flaky', 'busy', 'refuse', 'broken', 'large'].map((kind) => line(kind));
  const signed = { documents: [{ type: 'image', url: `https://files.example.com/a.png?${SIGNED_QUERY}` }] };
  const rest = [line('seen', signed), `{"custom_id": ${CANARIES.prompt}`, line('unknown', { [CANARIES.prompt]: 1 })];
  const headers = { 'idempotency-key': CANARIES.prompt };
  const create = async (url: string, more: Record<string, unknown> = {}) =>
    (await client.create({ ...fields, input_file_url: url, ...more })).id;
  const first = await run.call('POST', '/batches', {
    headers,
    body: {
      ...fields,
      name: CANARIES.batchName,
      description: CANARIES.prompt,
      on_invalid_line: 'skip',
      input_file_url: await client.upload([...lines, ...rest].join('\n')),
    },
  });
  expect(first.status).toBe(201);
  const url = await create(`${web.url}/input?${SIGNED_QUERY}`);
  const gzip = await create(await client.upload(gzipSync(line('packed'))));
  const refusedUrl = await create(`${web.url}/forbidden?${SIGNED_QUERY}`);
  const refusedBucket = await create(`s3://${CANARIES.prompt}/x?${SIGNED_QUERY}`);
  const cancelled = await create(await client.upload([line('quick'), line('late')].join('\n')));
  await client.until(cancelled, ({ request_counts }) => request_counts.completed === 1);
  while ((await run.call('GET', `/batches/${cancelled}/download?partial=true`)).status !== 200) await pause(200);
  await run.call('POST', `/batches/${cancelled}/cancel`);
  const ended = [first.body.id as string, url, gzip, refusedUrl, refusedBucket, cancelled];
  for (const id of ended) await client.untilEnded(id);
  const retry = await run.call('POST', `/batches/${first.body.id}/retry`, { body: { merge: true } });
  expect(retry.status).toBe(201);
  await client.untilEnded(retry.body.id);
  ids = { first: first.body.id, url, gzip, cancelled, retried: retry.body.id };
  output = JSON.stringify(await client.results(first.body.id));
  for (const path of [
    `/batches/${url}/receipt`,
    '/batches?skip=1',
    `/batches?after=${url}&status=completed`,
    '/health',
  ])
    expect((await run.call('GET', path)).status, path).toBe(200);
  for (const [method, path] of [
    ['GET', '/webhooks/secret'],
    ['POST', '/webhooks/secret/rotate'],
    ['GET', '/openapi.json'],
  ] as const)
    expect((await run.call(method, path)).status, path).toBe(200);
  const key = await run.callAsOperator('POST', '/keys', {
    body: { project_id: 'other', role: 'viewer', name: CANARIES.batchName },
  });
  expect((await run.callAsOperator('GET', '/keys')).status).toBe(200);
  expect((await run.callAsOperator('DELETE', `/keys/${key.body.id}`)).status).toBeLessThan(300);
  expect((await run.callAsOperator('GET', '/batches/check-batches')).status).toBe(200);
  await run.backstage.invoke('FunctionsScheduleSweepBatches', {});
  await run.backstage.invoke('FunctionsScheduleCheckBatches', {});
  for (const id of [...ended, retry.body.id]) await client.until(id, ({ delivered_at }) => delivered_at !== null);

  // And as it should not.
  const wrong = `plai_${CANARIES.signature}`;
  await run.call('GET', `/batches/${wrong}`, { key: wrong });
  await run.call('GET', `/batches/${CANARIES.prompt}?token=${CANARIES.signature}`);
  await run.call('GET', `/${CANARIES.prompt}?${SIGNED_QUERY}`);
  await run.callAsOperator('GET', '/keys', { key: CANARIES.signature });
  await run.call('POST', '/batches', { body: `{"name": ${CANARIES.prompt}` });
  await run.call('POST', '/batches', { body: { [CANARIES.prompt]: CANARIES.prompt, callback_url: CANARIES.callback } });
  // What no client can send: events that the functions cannot make sense of.
  const said = `Say ${CANARIES.prompt}`;
  const nonsense = { batchId: said, projectId: said, version: 1, attempt: said, shard: { shard: said }, error: said };
  for (const step of ['FetchInput', 'ValidateInput', 'PlanShards', 'RunShard', 'FinalizeBatch', 'FailBatch'])
    expect(await run.backstage.invoke(`FunctionsWorkflow${step}`, nonsense)).toHaveProperty('error');
  const broken = { rawPath: null, headers: { authorization: { toString: CANARIES.signature } }, body: CANARIES.prompt };
  await run.backstage.invoke('FunctionsHttpCreateBatch', { ...broken, requestContext: { http: { method: 'POST' } } });
  await run.backstage.invoke('FunctionsHttpNoRoute', broken);

  asked = model.requests.map(({ text }) => text);
  resources = readAssembly(join(run.dataDir, 'cdk.out')).template.Resources;
  await run.close();
  await model.close();
  await receiver.close();
  rawLogs = globSync('logs/*', { cwd: run.dataDir })
    .map((name) => readFileSync(join(run.dataDir, name), 'utf8'))
    .join('');
  logs = rawLogs
    .split('\n')
    .filter((text) => text.startsWith('{'))
    .map((text) => JSON.parse(text) as Record<string, unknown>);
}, 600_000);

afterAll(() => web?.close());

describe('no log line and no history holds content', () => {
  test('though it went through everything', () => {
    expect(asked.some((text) => text.includes(CANARIES.prompt))).toBe(true);
    expect(asked.some((text) => text.includes(CANARIES.signature))).toBe(true);
    expect(output).toMatch(/"model_error".*"invalid_response".*"response_too_large"/s);
    expect(web.requests.some((each) => each.includes(CANARIES.signature))).toBe(true);
    expect(logs.some(({ message }) => message === 'step failed')).toBe(true);
    expect(logs.some(({ message }) => message === 'request failed')).toBe(true);
  });

  test('whatever its level', () => {
    expect(leaksInFolder(run.dataDir)).toEqual([]);
  });

  test.each(Object.values(CANARIES))('and %s would be found', (canary) => {
    expect(leaksIn(`{"message":"a line","url":"${canary}"}`, 'a line')).toHaveLength(1);
  });

  test('nor would a key of the run go by unseen', () => {
    expect(leaksIn(`{"key":"${run.operatorKey}"}`, 'a line', [run.operatorKey])).toHaveLength(1);
    for (const secret of [run.apiKey, run.webhookSecret]) expect(leaksIn(secret, 'a line'), secret).toHaveLength(1);
  });
});

describe('every line says what it is about', () => {
  const of = (message: string) => logs.filter((each) => each.message === message);
  const text = expect.any(String);

  test('when, how grave, which function, which invocation', () => {
    for (const each of logs)
      expect(each).toMatchObject({ timestamp: text, level: text, service: text, request_id: text });
  });

  test('a request: both of its ids, its route and status, project and batch where there are', () => {
    expect(of('request').length).toBeGreaterThan(50);
    for (const each of of('request')) {
      expect(each).toMatchObject({ status: expect.any(Number), method: text });
      if (each.status !== 500) expect(each).toMatchObject({ api_request_id: text, route: text });
      if (Number(each.status) < 300 && /batches\/\{|files|webhooks/.test(String(each.route)))
        expect(each.project_id, String(each.route)).toBe(run.projectId);
      if (Number(each.status) < 300 && String(each.route).includes('{batch_id}'))
        expect(each.batch_id).toMatch(/^batch_/);
    }
  });

  test('a step: its batch, project and execution, and a worker its shard, attempt and turn', () => {
    for (const each of of('step'))
      expect(each).toMatchObject({ step: text, batch_id: text, project_id: run.projectId, execution: text });
    const turns = of('shard turn').filter(({ batch_id }) => batch_id === ids.first);
    expect(turns.length).toBeGreaterThan(0);
    for (const each of turns)
      expect(each).toMatchObject({
        step: 'runShard',
        execution: `${ids.first}-1`,
        attempt: 1,
        shard: 0,
        turn: expect.any(Number),
      });
  });

  test('so a batch is followed from its creation to its notification by one id', () => {
    const steps = of('step').filter(({ batch_id }) => batch_id === ids.first);
    expect([...new Set(steps.map(({ step }) => step))].toSorted()).toEqual(
      ['fetchInput', 'finalizeBatch', 'notifyReceiver', 'planShards', 'runShard', 'validateInput'].toSorted(),
    );
  });
});

describe('the rights of the deployed roles', () => {
  test('are held against the calls of every function', () => {
    const runShard = Object.keys(resources).find((id) => /^FunctionsWorkflowRunShard.{8}$/.test(id)) ?? '';
    // The run was watched: the file fails at its end where one is lacking.
    expect(missingRights(new Map([[runShard, [FORBIDDEN]]]), resources)).toEqual([
      'workflow/runShard lacks dynamodb:GetItem on table APIKEY#0123',
    ]);
  });
});
