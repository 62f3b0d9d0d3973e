import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { type LocalRun, type LocalRunOptions, startLocalRun } from '../../local/runtime.ts';
import { readAssembly } from '../../local/template/assembly.ts';
import { missingRights, startCallWatch } from './callWatch.ts';
import { CANARIES, leaksIn, leaksInFolder } from './canaries.ts';

/** What tests wait for comes soon: a lost batch is looked at after 2 s, a notification is tried again after 1 s. */
export const TEST_SETTINGS = {
  check: { lookAgainSeconds: 2, graceSeconds: 1 },
  notify: { pausesSeconds: [1, 1, 2] },
  worker: { retryBaseMs: 20, retryMaxMs: 500 },
};

const dataDirs: string[] = [];

/** What came by in the histories of executions and on the console. */
const leaks: string[] = [];
/** Rights that functions made use of and their deployed roles would not have. */
const lacks: string[] = [];

/** A data folder that is there until the test file is through. Nothing secret may be in its logs and histories then. */
export async function makeDataDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'batch-api-test-'));
  dataDirs.push(dir);
  return dir;
}
afterAll(async () => {
  const found = [...leaks.splice(0), ...lacks.splice(0)];
  for (const dir of dataDirs.splice(0)) {
    found.push(...leaksInFolder(dir));
    await rm(dir, { recursive: true, force: true });
  }
  expect(found).toEqual([]);
});

export type TestRun = LocalRun & {
  /** Calls the API with the ready-made key; `key: null` sends none. */
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** Calls it as the operator. */
  callAsOperator(method: string, path: string, options?: CallOptions): Promise<Answer>;
};
export type CallOptions = { body?: unknown; key?: string | null; headers?: Record<string, string> };
// Answers are looked into by tests that state what they expect there.
// biome-ignore lint/suspicious/noExplicitAny: a test's expectation is the check of an answer's shape
export type Answer = { status: number; headers: Headers; body: any };

export type TestRunOptions = Partial<LocalRunOptions> & {
  /** Holds every call of every function against its deployed role: the test file fails where it would be refused. */
  watchRights?: boolean;
};

/**
 * Starts the whole product in a folder of its own, on free ports. Give `dataDir` to go on with an earlier run's data.
 */
export async function startTestRun(options: TestRunOptions = {}): Promise<TestRun> {
  const dataDir = options.dataDir ?? (await makeDataDir());
  const { settings = TEST_SETTINGS, watchRights = false, ...rest } = options;
  const watch = watchRights ? startCallWatch() : undefined;
  const run = await startLocalRun({
    port: 0,
    environment: { MODEL_API_KEY: CANARIES.modelKey },
    ...(watch ? { between: watch.between } : {}),
    ...rest,
    // All that functions can say is said, so that it can be searched.
    settings: { logLevel: 'DEBUG', ...settings },
    dataDir,
  });
  run.backstage.observe((event) => {
    const text = JSON.stringify(event);
    leaks.push(...leaksIn(text, 'a history'));
  });
  const call = async (
    method: string,
    path: string,
    headers: Record<string, string>,
    body: unknown,
  ): Promise<Answer> => {
    const answer = await fetch(`${run.url}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.includes('json') ?? false;
    return { status: answer.status, headers: answer.headers, body: isJson && text !== '' ? JSON.parse(text) : text };
  };
  return {
    ...run,
    async close() {
      await run.close();
      if (!watch) return;
      await watch.close();
      if (watch.calls.size === 0) lacks.push('No call of a function was seen');
      lacks.push(...missingRights(watch.calls, readAssembly(join(dataDir, 'cdk.out')).template.Resources));
    },
    call: (method, path, { body, key = run.apiKey, headers = {} } = {}) =>
      call(method, path, { ...(key === null ? {} : { authorization: `Bearer ${key}` }), ...headers }, body),
    callAsOperator: (method, path, { body, key = run.operatorKey, headers = {} } = {}) =>
      call(method, path, { ...(key === null ? {} : { 'users-management-key': key }), ...headers }, body),
  };
}
