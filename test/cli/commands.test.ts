import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BatchWithErrorsView } from '../../shared/contract/batchView.ts';
import { startTestRun, TEST_SETTINGS, type TestRun } from '../support/localRun.ts';
import { chatAnswer, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { commandLine, startCommandLine } from './commandLine.ts';

const folder = mkdtempSync(join(tmpdir(), 'batch-api-commands-'));
const inFolder = (name: string) => join(folder, name);

let model: Awaited<ReturnType<typeof startModelServer>>;
let run: TestRun;
/** While set, lines that say `poor` fail; those that say `hold` get no answer. */
let poorFail = true;
const held: (() => void)[] = [];
const release = () => {
  for (const answer of held.splice(0)) answer();
};

beforeAll(async () => {
  model = await startModelServer(async (request) => {
    const prompt = promptOf(request);
    if (prompt.includes('hold')) await new Promise<void>((resolve) => held.push(resolve));
    if (prompt.includes('poor') && poorFail) return { status: 400, body: '{"error":{"message":"no such thing"}}' };
    return { status: 200, body: chatAnswer(`echo ${prompt}`) };
  });
  run = await startTestRun({
    modelsFile: writeModels({
      providers: { scripted: { kind: 'openai', base_url: model.baseUrl, api_key: false } },
      models: { default: { provider: 'scripted', model: 'm', endpoints: ['chat/completions'] } },
      agents: { '*': { model: 'default' } },
    }),
    settings: {
      ...TEST_SETTINGS,
      worker: { ...TEST_SETTINGS.worker, commitEverySeconds: 1, controlEverySeconds: 1, settleSeconds: 4 },
      snapshots: { refreshSeconds: 1 },
    },
  });
});
afterAll(async () => {
  release();
  await run?.close();
  await model?.close();
});

/** On the local run. */
const cli = (...args: string[]) => commandLine([...args, '--data', run.dataDir]);
/** Its one JSON document. */
const json = async (...args: string[]) => {
  const { code, out, err } = await cli(...args, '--json');
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${err}`);
  return JSON.parse(out);
};
const batchOf = (out: string) => BatchWithErrorsView.parse(JSON.parse(out));

let files = 0;
function inputFile(prompts: string[]): string {
  const path = inFolder(`input-${++files}.jsonl`);
  const lines = prompts.map((input, index) =>
    JSON.stringify({ custom_id: `id-${index + 1}`, method: 'POST', url: '/agents/a/invoke', body: { input } }),
  );
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

describe('a batch whose lines all succeed', () => {
  let id = '';
  const input = () => inFolder('good.jsonl');

  test('create --wait ends with 0, with the batch alone on stdout', async () => {
    writeFileSync(input(), `${readFileSync(inputFile(['a', 'b', 'c']), 'utf8').replaceAll('\n', '\n\n')}`);
    const { code, out, err } = await cli(
      ...['create', input(), '--wait', '--json', '--name', 'Three', '--description', 'of them'],
      ...['--window', '2h', '--metadata', 'team=search', '--metadata', 'run=a=b'],
    );
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining('completed 3/3 done') });
    const batch = batchOf(out);
    expect(batch).toMatchObject({
      name: 'Three',
      description: 'of them',
      status: 'completed',
      completion_window: '2h',
      metadata: { team: 'search', run: 'a=b' },
      callback_url: run.demo.receiverUrl,
      request_counts: { total: 3, completed: 3, failed: 0 },
    });
    id = batch.id;
  });

  test('get shows it to people, and to scripts', async () => {
    const [people, scripts] = await Promise.all([cli('get', id), json('get', id)]);
    expect(people).toMatchObject({ code: 0, err: expect.stringContaining(`download ${id}`) });
    expect(people.out).toMatch(/^lines +3 of 3 succeeded, 0 failed$/m);
    expect(scripts.id).toBe(id);
  });

  test('download and verify hold its files against the receipt and the input', async () => {
    const out = inFolder('good');
    writeFileSync(inFolder('receipt.json'), JSON.stringify(await json('receipt', id)));
    expect(await cli('receipt', id)).toMatchObject({ code: 0, out: expect.stringMatching(/3 succeeded, 0 failed/) });
    const { files: saved } = await json('download', id, '--out', out);
    expect(saved).toEqual([expect.objectContaining({ path: join(out, 'output.jsonl'), lines: 3 })]);
    expect(readdirSync(out)).toEqual(['output.jsonl']);

    const good = await cli('verify', id, '--out', out, '--input', input());
    expect(good).toMatchObject({ code: 0, out: expect.stringContaining('input: SHA-256') });
    expect(good.out).not.toContain('DIFFERS');

    const text = readFileSync(join(out, 'output.jsonl'), 'utf8');
    writeFileSync(join(out, 'output.jsonl'), text.replace('echo b', 'echo x'));
    // Without a system to ask: the receipt is enough.
    const bad = await commandLine(['verify', '--receipt', inFolder('receipt.json'), '--out', out, '--data', folder]);
    expect(bad).toMatchObject({ code: 3, out: expect.stringMatching(/output\.jsonl: SHA-256 .* DIFFERS/) });
    const document = JSON.parse((await cli('verify', id, '--out', out, '--json')).out);
    expect(document).toMatchObject({ batch_id: id, ok: false });
  });

  test('what cannot be done with it any more is refused with 1', async () => {
    const [cancel, retry] = await Promise.all([cli('cancel', id), cli('retry', id)]);
    expect(cancel).toMatchObject({ code: 1, out: '', err: expect.stringContaining('completed') });
    expect(retry).toMatchObject({ code: 1, out: '' });
  });
});

describe('a batch some of whose lines fail', () => {
  test('ends with 2, and its retry, merged, has all of them', async () => {
    const input = inputFile(['a', 'poor b', 'c', 'poor d']);
    poorFail = true;
    const { code, out } = await cli('create', input, '--wait', '--json');
    expect(code).toBe(2);
    const { id, errors } = batchOf(out);
    expect(errors.map(({ line }) => line)).toEqual([2, 4]);
    const shown = await cli('get', id, '--watch');
    expect(shown).toMatchObject({
      code: 2,
      out: expect.stringMatching(/LINE +ERROR +FIELD +MESSAGE\n +2 +model_error/),
    });
    await json('download', id, '--out', inFolder('some'));
    expect(await cli('verify', id, '--out', inFolder('some'), '--input', input)).toMatchObject({ code: 0 });

    poorFail = false;
    const retried = await cli('retry', id, '--merge', '--wait', '--json');
    expect(retried.code).toBe(0);
    const second = batchOf(retried.out);
    expect(second).toMatchObject({ retry_of: id, request_counts: { completed: 4, failed: 0 } });
    // Into the first one's folder: its errors must not stay beside the new results.
    await json('download', second.id, '--out', inFolder('some'));
    expect(readdirSync(inFolder('some'))).toEqual(['output.jsonl']);
    expect(await cli('verify', second.id, '--out', inFolder('some'), '--input', input)).toMatchObject({ code: 0 });
  });

  test('ends with 1 where one bad line fails it; its files have the bad lines alone, and that is in order', async () => {
    const path = inputFile(['a', 'b']);
    writeFileSync(path, `${readFileSync(path, 'utf8')}[]\n`);
    const { code, out } = await cli('create', path, '--wait', '--json');
    expect(code).toBe(1);
    const { id, ...batch } = batchOf(out);
    expect(batch).toMatchObject({ status: 'failed', errors: [{ code: 'invalid_line', line: 3 }] });
    await json('download', id, '--out', inFolder('failed'));
    expect(readdirSync(inFolder('failed'))).toEqual(['errors.jsonl']);
    expect(await cli('verify', id, '--out', inFolder('failed'), '--input', path)).toMatchObject({ code: 0 });
  });
});

describe('a batch that runs', () => {
  test('goes on when it is no longer watched, shows what it has, and is cancelled', async () => {
    const input = inputFile(['a', 'hold b', 'c', 'hold d']);
    const { id } = await json('create', input);
    const watching = startCommandLine(['get', id, '--watch', '--data', run.dataDir]);
    await watching.hasSaid('in_progress');
    watching.child.kill('SIGINT');
    const { code, out, err } = await watching.ended;
    expect({ code, out }).toEqual({ code: 130, out: '' });
    expect(err).toContain(`npm run cli -- get ${id} --watch --data ${run.dataDir}`);

    const early = await Promise.all([cli('download', id), cli('receipt', id), cli('verify', id)]);
    for (const refused of early) expect(refused).toMatchObject({ code: 1, out: '' });
    const partial = await json('download', id, '--partial', '--out', inFolder('running'));
    expect(Date.parse(partial.as_of)).toBeGreaterThan(0);
    for (const name of readdirSync(inFolder('running'))) expect(name).toBe('output.partial.jsonl');

    const cancelled = await cli('cancel', id, '--wait', '--json');
    expect(cancelled.code).toBe(0);
    expect(batchOf(cancelled.out)).toMatchObject({ status: 'cancelled', request_counts: { total: 4 } });
    release();
    expect(await cli('get', id, '--watch')).toMatchObject({ code: 1 });
    await json('download', id, '--partial', '--out', inFolder('running'));
    expect(readdirSync(inFolder('running'))).toEqual(expect.arrayContaining(['errors.jsonl', 'output.jsonl']));
    expect(await cli('verify', id, '--out', inFolder('running'), '--input', input)).toMatchObject({ code: 0 });
  });
});

describe('the list', () => {
  test('comes in pages, or whole', async () => {
    const all = await json('list', '--take', '2', '--all');
    expect(all.has_more).toBe(false);
    expect(all.batches.length).toBeGreaterThan(2);
    const page = await cli('list', '--take', '1', '--order', 'asc');
    const first = all.batches.at(-1).id;
    expect(page.out.split('\n')).toHaveLength(3);
    expect(page.out).toMatch(new RegExp(`^ID +NAME .*\\n${first} `));
    expect(page.err).toContain(`list --order asc --take 1 --after ${first} --data`);
    const next = await json('list', '--take', '1', '--order', 'asc', '--after', first);
    expect(next.batches[0].id).toBe(all.batches.at(-2).id);
    const none = await cli('list', '--status', 'expired');
    expect(none).toMatchObject({ code: 0, out: '' });
  });
});

describe('an upload', () => {
  test('is the input of the same batch however often it is asked for under one key', async () => {
    const url = (await cli('upload', inputFile(['a']))).out.trim();
    const create = () =>
      json('create', '--input-url', url, '--type', 'COMPLETIONS', '--idempotency-key', 'nightly', '--name', 'n');
    const [first, second] = await Promise.all([create(), create()]);
    expect(second.id).toBe(first.id);
  });
});

describe('keys', () => {
  test('are made, used, listed and revoked', async () => {
    const made = await json('keys', 'create', '--name', 'dashboard', '--role', 'viewer', '--expires', '2099-01-01');
    expect(made).toMatchObject({ project_id: run.projectId, role: 'viewer', expires_at: '2099-01-01T00:00:00.000Z' });
    const asViewer = await cli('webhook-secret', '--key', made.key);
    expect(asViewer).toMatchObject({ code: 1, out: '' });
    expect((await cli('list', '--key', made.key)).code).toBe(0);
    const listed = await cli('keys', 'list', '--project', run.projectId);
    expect(listed.out).toContain(made.id);
    expect(listed.out).not.toContain(made.key);
    expect((await json('keys', 'revoke', made.id)).revoked_at).not.toBeNull();
    expect(await cli('list', '--key', made.key)).toMatchObject({ code: 1, out: '' });
  });
});

describe('the operator', () => {
  test('has due batches looked at', async () => {
    const [once, all] = await Promise.all([json('check'), cli('check', '--all')]);
    expect(once).toMatchObject({ checked: expect.any(Number), batches: expect.any(Array) });
    expect(all).toMatchObject({ code: 0, out: expect.stringMatching(/^checked +\d+\nexpired +\d+\nrecovered/) });
  });
});

describe('the signing secret', () => {
  test('is shown and rotated', async () => {
    const before = (await cli('webhook-secret')).out.trim();
    expect(before).toMatch(/^whsec_/);
    const { secret } = await json('webhook-secret', '--rotate');
    expect(secret).not.toBe(before);
    expect((await cli('webhook-secret')).out.trim()).toBe(secret);
  });
});

describe('a deployed stage', () => {
  test('is named by flags or by the environment, each with its own keys', async () => {
    const { url, apiKey, operatorKey } = run;
    const environment = { BATCH_API_URL: url, BATCH_API_KEY: apiKey, BATCH_API_OPERATOR_KEY: operatorKey };
    const [flags, env, operator, none, noCallback] = await Promise.all([
      commandLine(['list', '--take', '1', '--api', url, '--key', apiKey]),
      commandLine(['list', '--take', '1'], { environment }),
      commandLine(['keys', 'list', '--json'], { environment }),
      commandLine(['list', '--api', url]),
      commandLine(['create', inputFile(['a'])], { environment }),
    ]);
    expect(flags).toMatchObject({ code: 0, err: expect.stringContaining(`--api ${url} --key …`) });
    expect(flags.err).not.toContain(apiKey);
    expect(env.code).toBe(0);
    expect(operator.code).toBe(0);
    expect(none).toMatchObject({ code: 64, err: expect.stringContaining('BATCH_API_KEY') });
    expect(noCallback).toMatchObject({ code: 64, err: expect.stringContaining('--callback URL') });
  });
});

describe('npm run batch', () => {
  test('uses the local system that runs, checks the notification, and ends with 2 where lines fail', async () => {
    poorFail = true;
    const args = [inputFile(['a', 'poor b']), '--out', inFolder('batch'), '--data', run.dataDir];
    const { code, out, err } = await commandLine(args, { program: 'batch' });
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining('batch.completed, signature holds') });
    expect(out).toBe(`${inFolder('batch/output.jsonl')} (1 line)\n${inFolder('batch/errors.jsonl')} (1 line)\n`);
  });

  test('that is stopped says how to go on', async () => {
    const args = [inputFile(['hold a']), '--out', inFolder('stopped'), '--data', run.dataDir];
    const running = startCommandLine(args, { program: 'batch' });
    await running.hasSaid('in_progress');
    running.child.kill('SIGINT');
    const { code, err } = await running.ended;
    release();
    expect(code).toBe(130);
    expect(err).toMatch(/npm run cli -- get batch_\w+ --watch/);
  });
});
