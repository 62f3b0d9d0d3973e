import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openStores, type Stores } from '../../operations/deleteProject/stores.ts';
import { createBatchClient } from '../support/batchClient.ts';
import { makeDataDir, startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { startWebServer, type WebServer } from '../support/webServer.ts';

const TOOL = join(import.meta.dirname, '../../operations/deleteProject.ts');
// Nobody listens on port 9 here: the notification is to be tried again for as long as the test runs.
const NOWHERE = 'http://127.0.0.1:9/hook';

let run: TestRun;
/** Begins an input, and never ends it. */
let source: WebServer;
let stores: Stores;
const clients = new Map<string, ReturnType<typeof createBatchClient>>();
const keys = new Map<string, string>();

/** The one that is deleted, one whose id goes on where its ends, and another. */
const PROJECTS = ['acme', 'acme-2', 'other'] as const;
const line = (id: string) =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/agents/a/invoke', body: { input: `Say ${id}.` } });

beforeAll(async () => {
  source = await startWebServer((_, response) => void response.write('{'));
  // Not while the project is being deleted: an attempt would make the secret that it signs with anew.
  run = await startTestRun({ settings: { ...TEST_SETTINGS, notify: { pausesSeconds: [3_600] } } });
  stores = openStores({ data: run.dataDir });
  await Promise.all(
    PROJECTS.map(async (project) => {
      const body = { project_id: project, role: 'admin', name: 'test' };
      const { key } = (await run.callAsOperator('POST', '/keys', { body })).body as { key: string };
      keys.set(project, key);
      clients.set(project, createBatchClient(run.url, key));
      await fillProject(project);
    }),
  );
});
afterAll(async () => {
  stores?.close();
  await source?.close();
  await run?.close();
});

function clientOf(project: string) {
  const client = clients.get(project);
  if (!client) throw new Error(`There is no client of ${project}`);
  return client;
}

/** A batch that stays open: its input does not come to its end. */
const endless = () => ({ type: 'COMPLETIONS', input_file_url: `${source.url}/in.jsonl`, callback_url: NOWHERE });

/** A batch with results and errors, one by idempotency key, an upload that no batch reads, and a webhook secret. */
async function fillProject(project: string): Promise<void> {
  const client = clientOf(project);
  const input = await client.upload(`${[line('a'), line('b'), 'no JSON', line('c')].join('\n')}\n`);
  const fields = { type: 'COMPLETIONS', input_file_url: input, callback_url: NOWHERE, on_invalid_line: 'skip' };
  const first = await client.create(fields);
  const headers = { 'idempotency-key': 'once' };
  const again = await client.call('POST', '/batches', { name: 'by key', ...fields }, headers);
  await client.upload('unused');
  await Promise.all([first.id, String(again.body.id)].map((id) => client.untilEnded(id)));
}

type Kept = { records: Record<string, unknown>[]; objects: string[] };

/** All that the stack keeps, but for what the maps report of themselves. */
async function kept(): Promise<Kept> {
  const { client, tableName } = stores.table;
  const { Items = [] } = await client.send(new ScanCommand({ TableName: tableName, ConsistentRead: true }));
  const { Contents = [] } = await stores.s3.send(new ListObjectsV2Command({ Bucket: stores.bucket }));
  const objects = Contents.flatMap(({ Key = '' }) => (Key.startsWith('shards/map-results/') ? [] : [Key]));
  return { records: Items, objects };
}

/** Those that name the project, or a batch of its. */
function of(project: string, batchIds: string[], { records, objects }: Kept): Kept {
  const names = [`"${project}"`, `#${project}"`, `#${project}#`, `/${project}/`, ...batchIds];
  const isOf = (text: string) => names.some((name) => text.includes(name));
  return { records: records.filter((record) => isOf(JSON.stringify(record))), objects: objects.filter(isOf) };
}

async function batchIdsOf(project: string): Promise<string[]> {
  const { body } = await clientOf(project).call('GET', '/batches');
  return (body.batches as { id: string }[]).map(({ id }) => id);
}

/** Runs the command as an operator would. */
async function command(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--disable-warning=ExperimentalWarning', TOOL, ...args], (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err }),
    );
  });
}

const here = () => ['--project', 'acme', '--data', run.dataDir];
const counts = (out: string) =>
  Object.fromEntries([...out.matchAll(/^ {2}(\S.*?) {2,}(\d+)/gm)].map(([, name, value]) => [name, Number(value)]));

describe('delete-project', () => {
  let batchIds: string[];

  test('counts what there is and deletes nothing, unless it is told to', async () => {
    batchIds = await batchIdsOf('acme');
    const before = await kept();
    const { code, out } = await command(...here());
    expect(code, out).toBe(0);
    expect(out).toContain('Nothing was deleted');
    expect(counts(out)).toEqual({
      'API keys': 1,
      'entries of API keys': 1,
      'webhook secret': 1,
      uploads: 2,
      'idempotency keys': 1,
      // Uploads of the day, open batches, and requests of each minute that it took.
      'counts of quotas': expect.any(Number),
      shards: 2,
      'details, controls and snapshots of batches': 4,
      batches: 2,
      'objects in uploads/': 2,
      'objects in inputs/': 0,
      'objects in shards/': expect.any(Number),
      'objects in parts/': 0,
      // Output, errors and the index of lines.
      'objects in outputs/': 6,
      'objects in snapshots/': 0,
    });
    const after = await kept();
    expect(after.objects).toEqual(before.objects);
    expect(of('acme', batchIds, after).records).toHaveLength(of('acme', batchIds, before).records.length);
  });

  test('refuses while batches are open, and names them', async () => {
    const client = clientOf('acme');
    const slow = await client.create(endless());
    const { code, out } = await command(...here(), '--yes');
    expect(code, out).toBe(2);
    expect(out).toContain(slow.id);
    expect(out).toContain('Cancel them first');
    expect((await client.get(slow.id)).id).toBe(slow.id);
    await client.call('POST', `/batches/${slow.id}/cancel`);
    await client.untilEnded(slow.id);
    batchIds.push(slow.id);
    // The first attempt of each has been made.
    for (const id of batchIds) await client.until(id, ({ delivery }) => delivery !== null);
  });

  test('leaves nothing of the project, and all of the others', async () => {
    const others = await Promise.all(
      PROJECTS.slice(1).map(async (project) => ({ project, ids: await batchIdsOf(project) })),
    );
    const before = await kept();
    expect(of('acme', batchIds, before).records.length).toBeGreaterThan(10);
    const { code, out, err } = await command(...here(), '--yes');
    expect(code, `${out}${err}`).toBe(0);
    const after = await kept();
    expect(of('acme', batchIds, after)).toEqual({ records: [], objects: [] });
    for (const { project, ids } of others) {
      const [was, is] = [of(project, ids, before), of(project, ids, after)];
      expect(is.objects, project).toEqual(was.objects);
      expect(is.records.map(keyOf).sort(), project).toEqual(was.records.map(keyOf).sort());
      const [id = ''] = ids;
      expect((await clientOf(project).results(id)).output.length, project).toBe(3);
    }
    // Its key opens nothing any more.
    expect((await run.call('GET', '/batches', { key: keys.get('acme') ?? '' })).status).toBe(401);
  });

  test('finds nothing the second time', async () => {
    const { code, out } = await command(...here(), '--yes');
    expect(code).toBe(0);
    expect(new Set(Object.values(counts(out)))).toEqual(new Set([0]));
  });

  test('the project can begin anew, and be deleted with a batch that is open', async () => {
    const body = { project_id: 'acme', role: 'admin', name: 'again' };
    const { key } = (await run.callAsOperator('POST', '/keys', { body })).body as { key: string };
    expect((await run.call('GET', '/batches', { key })).body).toMatchObject({ batches: [] });
    const { id } = await createBatchClient(run.url, key).create(endless());
    const { code, out } = await command(...here(), '--yes', '--include-open');
    expect(code, out).toBe(0);
    expect(of('acme', [id], await kept())).toEqual({ records: [], objects: [] });
  });

  test('says so where no local system runs, and what it does not know', async () => {
    const dir = await makeDataDir();
    expect(await command('--project', 'acme', '--data', dir)).toMatchObject({
      code: 1,
      err: expect.stringContaining(`No local system runs on the data folder ${dir}`),
    });
    expect(await command('--project', 'acme', '--all')).toMatchObject({
      code: 1,
      err: expect.stringContaining('--all'),
    });
    expect(await command('--help')).toMatchObject({ code: 0, out: expect.stringContaining('--include-open') });
  });
});

const keyOf = ({ pk, sk }: Record<string, unknown>) => `${pk} ${sk}`;
