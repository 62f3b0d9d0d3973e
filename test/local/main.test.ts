import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { ROOT } from '../../local/synth.ts';
import { type RunInfo, RunInfoSchema } from '../../shared/contract/runInfo.ts';
import { createBatchClient } from '../support/batchClient.ts';
import { makeDataDir } from '../support/localRun.ts';

const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
});

function main(...args: string[]) {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(ROOT, 'local/main.ts'), ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  children.push(child);
  return child;
}

/** Runs it to its end. */
async function ended(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = main(...args);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code, out, err };
}

/** Starts it with --json and waits for the line. */
async function ready(dataDir: string): Promise<{ child: ChildProcess; info: RunInfo; lines: string[] }> {
  const child = main('--json', '--port', '0', '--data', dataDir);
  const said = text(child.stderr);
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  await Promise.race([
    once(reader, 'line'),
    once(child, 'exit').then(async () => Promise.reject(new Error(`It ended before it was ready: ${await said}`))),
  ]);
  return { child, info: RunInfoSchema.parse(JSON.parse(lines[0] ?? '')), lines };
}

describe('a start that cannot be says what to do', () => {
  it('an unknown flag', async () => {
    const { code, out, err } = await ended('--prot', '4010');
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/--prot.*--help/);
  });

  it('a port that is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const { code, err } = await ended('--port', String(port), '--data', await makeDataDir());
    taken.close();
    expect(code).toBe(1);
    expect(err).toContain(`Port ${port} is taken`);
    expect(err).toContain('--port');
  });

  it('--help is no failure', async () => {
    expect(await ended('--help')).toMatchObject({ code: 0, out: expect.stringContaining('--embedding-model') });
  });
});

describe('a run', () => {
  it('prints one line of JSON, keeps its keys over a restart, and ends with code 0', async () => {
    const dataDir = await makeDataDir();
    const first = await ready(dataDir);
    expect(first.info.pid).toBe(first.child.pid);
    const other = await ended('--port', '0', '--data', dataDir);
    expect(other).toMatchObject({ code: 1, err: expect.stringContaining(`process ${first.info.pid}`) });
    first.child.kill('SIGTERM');
    expect(await once(first.child, 'exit')).toEqual([0, null]);
    expect(first.lines).toHaveLength(1);
    expect(existsSync(join(dataDir, 'run.json'))).toBe(false);

    const second = await ready(dataDir);
    // The demo's port is the same one only where it is still free.
    const moves = { url: '', demo_receiver_url: '', pid: 0 };
    expect({ ...second.info, ...moves }).toEqual({ ...first.info, ...moves });
    second.child.kill('SIGINT');
    expect(await once(second.child, 'exit')).toEqual([0, null]);
  }, 180_000);

  it('that is killed right after it took a batch completes it on the next start', async () => {
    const dataDir = await makeDataDir();
    const first = await ready(dataDir);
    const before = createBatchClient(first.info.url, first.info.api_key);
    const line = (index: number) =>
      JSON.stringify({
        custom_id: `id-${index}`,
        method: 'POST',
        url: '/agents/a/invoke',
        body: { input: `q ${index}` },
      });
    const input_file_url = await before.upload(Array.from({ length: 500 }, (_, index) => line(index)).join('\n'));
    const { id } = await before.create({ type: 'COMPLETIONS', input_file_url, callback_url: 'http://127.0.0.1:9/' });
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');

    const second = await ready(dataDir);
    const after = createBatchClient(second.info.url, second.info.api_key);
    expect(await after.untilEnded(id)).toMatchObject({
      status: 'completed',
      request_counts: { total: 500, completed: 500, failed: 0 },
    });
    const { output } = await after.results(id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(Array.from({ length: 500 }, (_, index) => `id-${index}`));
  }, 180_000);

  it('prints lines that work when they are pasted', async () => {
    const child = main('--port', '0', '--data', await makeDataDir());
    let said = '';
    child.stdout.setEncoding('utf8');
    const has = (mark: string) =>
      new Promise<void>((resolve) => {
        const look = () => said.includes(mark) && resolve();
        child.stdout.on('data', look);
        look();
      });
    child.stdout.on('data', (chunk: string) => {
      said += chunk;
    });
    await has('Stop with Ctrl-C');
    const lines = said.split('\n').filter((text) => text.startsWith('  ') && /curl|UPLOAD/.test(text));
    expect(lines).toHaveLength(6);
    const [create, get, download, ...upload] = lines;
    const shell = async (script: string) =>
      (await promisify(execFile)('bash', ['-c', script], { cwd: ROOT, maxBuffer: 16 * 1024 * 1024 })).stdout.trim();

    const id = await shell(create ?? '');
    expect(id).toMatch(/^batch_/);
    await has(`notification batch.completed for ${id}: its signature holds`);
    expect(JSON.parse(await shell(`BATCH=${id}\n${get}`))).toMatchObject({ id, status: 'completed' });
    expect((await shell(`BATCH=${id}\n${download}`)).split('\n')).toHaveLength(60);
    expect(await shell(upload.join('\n'))).toMatch(/^file:\/\/file_/);
  }, 180_000);
});
