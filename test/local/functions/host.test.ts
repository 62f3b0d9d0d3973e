import { fork } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FunctionHost, startFunctions } from '../../../local/functions/host.ts';
import { openLogFile } from '../../../local/functions/logFile.ts';

let dir: string;
let host: FunctionHost | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'functions-'));
});
afterEach(async () => {
  await host?.close();
  host = undefined;
  rmSync(dir, { recursive: true, force: true });
});

let ownProcess = false;

/** Hosts one function whose module is `source`. */
function hostOf(
  source: string,
  options: {
    timeoutSeconds?: number;
    memoryMb?: number;
    maxConcurrency?: number;
    maxIdle?: number;
    names?: string[];
    environment?: Record<string, string>;
  } = {},
): FunctionHost {
  const entryFile = join(dir, 'index.mjs');
  writeFileSync(entryFile, source);
  host = startFunctions({
    functions: (options.names ?? ['fn']).map((name) => ({
      arn: `arn:aws:lambda:us-east-1:000000000000:function:${name}`,
      name,
      entryFile,
      handlerExport: 'handler',
      environment: options.environment ?? {},
      timeoutSeconds: options.timeoutSeconds ?? 60,
      memoryMb: options.memoryMb ?? 128,
      ownProcess,
    })),
    environment: { AWS_REGION: 'us-east-1' },
    logDir: join(dir, 'logs'),
    maxConcurrency: options.maxConcurrency ?? 2,
    ...(options.maxIdle === undefined ? {} : { maxIdle: options.maxIdle }),
  });
  return host;
}

describe.each([
  ['threads', false],
  ['processes', true],
])('functions in %s', (_, own) => {
  beforeEach(() => {
    ownProcess = own;
  });

  describe('an invocation', () => {
    it('answers what the handler returns, as JSON carries it', async () => {
      const host = hostOf(
        'export const handler = async (event) => ({ ...event, date: new Date(0), gone: undefined });',
      );
      expect(await host.invoke('fn', { a: 1 })).toEqual({ payload: { a: 1, date: '1970-01-01T00:00:00.000Z' } });
      expect(await host.invoke('arn:aws:lambda:us-east-1:000000000000:function:fn', {})).toHaveProperty('payload');
    });

    it('answers null where the handler returns nothing', async () => {
      expect(await hostOf('export const handler = () => {};').invoke('fn', {})).toEqual({ payload: null });
    });

    it('gives the context that Lambda gives', async () => {
      const host = hostOf(
        `export const handler = (event, context) => ({ ...context, left: context.getRemainingTimeInMillis() });`,
        { timeoutSeconds: 60, memoryMb: 256 },
      );
      const first = await host.invoke('fn', {});
      expect(first).toMatchObject({
        payload: {
          functionName: 'fn',
          memoryLimitInMB: '256',
          invokedFunctionArn: 'arn:aws:lambda:us-east-1:000000000000:function:fn',
          awsRequestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
          left: expect.any(Number),
        },
      });
      expect(await host.invoke('fn', {})).not.toEqual(first);
    });

    it("has the template's variables and Lambda's own, and none of ours", async () => {
      process.env.OF_THE_PARENT = 'yes';
      const host = hostOf('export const handler = () => process.env;', { environment: { TABLE_NAME: 'table' } });
      const result = await host.invoke('fn', {});
      delete process.env.OF_THE_PARENT;
      expect(result).toMatchObject({
        payload: { TABLE_NAME: 'table', AWS_REGION: 'us-east-1', AWS_LAMBDA_FUNCTION_NAME: 'fn' },
      });
      expect(result).not.toHaveProperty('payload.OF_THE_PARENT');
      expect(result).not.toHaveProperty('payload.HOME');
    });

    it('of an unknown function answers its absence', async () => {
      expect(await hostOf('export const handler = 1;').invoke('other', {})).toMatchObject({
        error: { errorType: 'Lambda.ResourceNotFoundException' },
      });
    });
  });

  describe('sandboxes', () => {
    it('are warm the second time: what the module keeps is still there', async () => {
      const host = hostOf('let count = 0; export const handler = () => ++count;');
      expect(await host.invoke('fn', {})).toEqual({ payload: 1 });
      expect(await host.invoke('fn', {})).toEqual({ payload: 2 });
    });

    it('run one invocation at a time each, up to the bound; what comes beyond waits', async () => {
      const host = hostOf(
        `import { threadId as thread } from 'node:worker_threads';
       const threadId = process.pid + ' ' + thread;
       let running = 0, most = 0;
       export const handler = async () => {
         most = Math.max(most, ++running);
         await new Promise((resolve) => setTimeout(resolve, 20));
         running--;
         return { threadId, most };
       };`,
        { maxConcurrency: 2 },
      );
      const results = await Promise.all(Array.from({ length: 8 }, () => host.invoke('fn', {})));
      const payloads = results.map((result) => ('payload' in result ? result.payload : result)) as {
        threadId: string;
        most: number;
      }[];
      expect(new Set(payloads.map(({ threadId }) => threadId)).size).toBe(2);
      expect(payloads.every(({ most }) => most === 1)).toBe(true);
    });

    it('that are too many idle are given back where a function has several, and not its last one', async () => {
      const host = hostOf(
        `let count = 0;
       export const handler = async () => {
         await new Promise((resolve) => setTimeout(resolve, 20));
         return ++count;
       };`,
        { names: ['once', 'often'], maxIdle: 2 },
      );
      expect(await host.invoke('once', {})).toEqual({ payload: 1 });
      await Promise.all([host.invoke('often', {}), host.invoke('often', {})]);
      expect(await host.invoke('once', {})).toEqual({ payload: 2 });
      expect(await host.invoke('often', {})).toEqual({ payload: 2 });
    });

    it('that are closed answer what is still waiting', async () => {
      const host = hostOf('export const handler = () => new Promise(() => setInterval(() => {}, 1000));', {
        maxConcurrency: 1,
      });
      const results = Promise.all([host.invoke('fn', {}), host.invoke('fn', {})]);
      await host.close();
      expect((await results).every((result) => 'error' in result)).toBe(true);
    });
  });

  describe('what goes wrong is shaped as Lambda shapes it', () => {
    it('a thrown error: its name, message and trace', async () => {
      const host = hostOf(`export const handler = () => { throw Object.assign(new Error('no'), { name: 'Odd' }); };`);
      expect(await host.invoke('fn', {})).toEqual({
        error: { errorType: 'Odd', errorMessage: 'no', trace: expect.arrayContaining(['Odd: no']) },
      });
    });

    it('a function over its time: it is ended, and the next invocation finds a new sandbox', async () => {
      const host = hostOf(
        `let count = 0;
       export const handler = async (event) => {
         count++;
         if (event.hang) for (;;);
         return count;
       };`,
        { timeoutSeconds: 0.2 },
      );
      expect(await host.invoke('fn', { hang: true })).toMatchObject({
        error: {
          errorType: 'Sandbox.Timedout',
          errorMessage: expect.stringMatching(/Task timed out after 0\.20 seconds$/),
        },
      });
      expect(await host.invoke('fn', {})).toEqual({ payload: 1 });
    });

    it.each([
      ['exits', 'process.exit(3)'],
      ['runs out of memory', 'const all = []; for (;;) all.push(new Array(1e5).fill(0.5))'],
      ['throws outside of its promise', 'setTimeout(() => { throw new Error("late") }); await new Promise(() => {})'],
    ])('a function that %s', async (_, code) => {
      const host = hostOf(`export const handler = async (event) => { if (event.die) { ${code} } return 'alive'; };`, {
        memoryMb: 32,
      });
      expect(await host.invoke('fn', { die: true })).toMatchObject({ error: { errorType: 'Runtime.ExitError' } });
      expect(await host.invoke('fn', {})).toEqual({ payload: 'alive' });
    });

    it('a bundle that does not load', async () => {
      const host = hostOf(`throw new TypeError('at load');`);
      expect(await host.invoke('fn', {})).toMatchObject({ error: { errorType: 'TypeError', errorMessage: 'at load' } });
    });

    it('a handler that is not exported', async () => {
      expect(await hostOf('export const other = 1;').invoke('fn', {})).toMatchObject({
        error: { errorType: 'Runtime.HandlerNotFound' },
      });
    });

    it('an event and an answer over 6 MB', async () => {
      const host = hostOf(`export const handler = (event) => 'x'.repeat(event.length ?? 0);`);
      expect(await host.invoke('fn', 'x'.repeat(6 * 1024 * 1024))).toMatchObject({
        error: { errorType: 'Lambda.RequestTooLargeException' },
      });
      expect(await host.invoke('fn', { length: 6 * 1024 * 1024 })).toMatchObject({
        error: { errorType: 'Function.ResponseSizeTooLarge' },
      });
    });
  });
});

describe('a function in a process', () => {
  it('that V8 ends in the middle of a JSON.parse is reported like any other, and ends nothing else', async () => {
    ownProcess = true;
    const host = hostOf(
      `export const handler = (event) => event.die ? JSON.parse('[' + '[],'.repeat(3e6) + '[]]').length : 'alive';`,
      { memoryMb: 32 },
    );
    const [died, lived] = await Promise.all([host.invoke('fn', { die: true }), host.invoke('fn', {})]);
    expect(died).toMatchObject({ error: { errorType: 'Runtime.ExitError' } });
    expect(lived).toEqual({ payload: 'alive' });
    expect(readFileSync(join(dir, 'logs', 'fn.log'), 'utf8')).toContain('heap out of memory');
  });

  it('ends when its host is gone', async () => {
    ownProcess = true;
    const pidFile = join(dir, 'pid');
    writeFileSync(
      join(dir, 'host.mjs'),
      `import { startFunctions } from ${JSON.stringify(new URL('../../../local/functions/host.ts', import.meta.url).href)};
       const host = startFunctions(JSON.parse(process.argv[2]));
       void host.invoke('fn', {});`,
    );
    writeFileSync(
      join(dir, 'index.mjs'),
      `import { writeFileSync } from 'node:fs';
       export const handler = () => { writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); return new Promise(() => {}); };`,
    );
    const options = {
      functions: [
        {
          ...{ arn: 'arn', name: 'fn', entryFile: join(dir, 'index.mjs'), handlerExport: 'handler', environment: {} },
          ...{ timeoutSeconds: 60, memoryMb: 128, ownProcess: true },
        },
      ],
      ...{ environment: {}, logDir: join(dir, 'logs'), maxConcurrency: 1 },
    };
    const parent = fork(join(dir, 'host.mjs'), [JSON.stringify(options)], { execArgv: [] });
    await vi.waitUntil(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== '', WAIT);
    const pid = Number(readFileSync(pidFile, 'utf8'));
    expect(isAlive(pid)).toBe(true);
    parent.kill('SIGKILL');
    await vi.waitUntil(() => !isAlive(pid), WAIT);
  });
});

// Bounds what hangs.
const WAIT = { timeout: 60_000, interval: 50 };

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

describe('the log of a function', () => {
  beforeEach(() => {
    ownProcess = false;
  });

  it('has what it prints and how it failed', async () => {
    const host = hostOf(`export const handler = () => { console.log('printed'); throw new Error('failed'); };`);
    await host.invoke('fn', {});
    await host.close();
    const log = readFileSync(join(dir, 'logs', 'fn.log'), 'utf8');
    expect(log).toContain('"errorMessage":"failed"');
  });

  it('keeps one older file, and both within their size', () => {
    const path = join(dir, 'bounded.log');
    const log = openLogFile(path, 100);
    for (let line = 0; line < 50; line++) log.write(`line ${line}\n`);
    expect(readFileSync(path, 'utf8')).toMatch(/line 49\n$/);
    expect(readFileSync(path).length).toBeLessThanOrEqual(100);
    expect(readFileSync(`${path}.1`).length).toBeLessThanOrEqual(100);
  });
});
