import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { systemClock } from '../../../shared/adapters/system/clock.ts';
import { systemIds } from '../../../shared/adapters/system/ids.ts';
import { systemRandom } from '../../../shared/adapters/system/random.ts';

it('ids that are made one after the other sort so, however fast', () => {
  const ids = Array.from({ length: 10_000 }, () => systemIds.ulid());
  expect([...new Set(ids)].sort()).toEqual(ids);
  expect(ids.every((id) => /^[0-9A-HJKMNP-TV-Z]{26}$/.test(id))).toBe(true);
});

it('secret bytes are as many as asked for, and never the same', () => {
  const hex = () => Buffer.from(systemIds.secretBytes(32)).toString('hex');
  expect(hex()).toMatch(/^[0-9a-f]{64}$/);
  expect(hex()).not.toBe(hex());
});

it('chance lies in [0, 1)', () => {
  const drawn = Array.from({ length: 1000 }, () => systemRandom.next());
  expect(drawn.every((value) => value >= 0 && value < 1)).toBe(true);
});

it('a sleep ends when its signal is aborted, with the signal’s own reason', async () => {
  const abort = new AbortController();
  const reason = new Error('enough');
  const slept = systemClock.sleep(3_600_000, abort.signal);
  abort.abort(reason);
  await expect(slept).rejects.toBe(reason);
  await expect(systemClock.sleep(0, abort.signal)).rejects.toBe(reason);
});

it('the log writes one JSON line with the fields, from its level up', () => {
  // In a process of its own: the logger holds on to the standard output that it found when it was made.
  const module = new URL('../../../shared/adapters/system/log.ts', import.meta.url).href;
  const program = `import { createLog } from '${module}';
    const log = createLog({ service: 'getBatch', level: 'WARN' });
    log.info('not this');
    log.warn('this', { batch_id: 'batch_1' });`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  const lines = `${stdout}${stderr}`.trim().split('\n');
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    level: 'WARN',
    message: 'this',
    service: 'getBatch',
    batch_id: 'batch_1',
  });
});

/** What a process that runs the program says, in all. */
function said(program: string): string {
  const of = (name: string) => new URL(`../../../shared/adapters/system/${name}.ts`, import.meta.url).href;
  const imports = `import { createLog } from '${of('log')}'; import { keepContentOutOfCrashes } from '${of('crashes')}';
    const log = createLog({ service: 'runShard', level: 'DEBUG' });`;
  const env = { ...process.env, POWERTOOLS_LOGGER_LOG_EVENT: 'true', POWERTOOLS_DEV: 'true' };
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', imports + program], {
    encoding: 'utf8',
    env,
  });
  return stdout + stderr;
}

it('every line bears the ids of what it is about, in snake_case, until the log is told of something else', () => {
  const lines = said(`
    log.about({ batch_id: 'batch_1', shard: 3 });
    log.info('one', { idleAttempts: 2, error: new SyntaxError('canary') });
    log.about({ batch_id: 'batch_2' });
    log.info('two');`)
    .replaceAll('\n  ', ' ')
    .replaceAll('\n}', '}')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toMatchObject([
    { message: 'one', batch_id: 'batch_1', shard: 3, idle_attempts: 2, error: { name: 'SyntaxError' } },
    { message: 'two', batch_id: 'batch_2' },
  ]);
  expect(lines[1]).not.toHaveProperty('shard');
  expect(JSON.stringify(lines)).not.toContain('canary');
});

it.each([
  [
    'an exception',
    `setTimeout(() => { throw Object.assign(new TypeError(secret), { body: secret, cause: new Error(secret) }); })`,
  ],
  ['a rejection', `Promise.reject(Object.assign(new SyntaxError(secret), { input: secret }));`],
])('%s that nothing catches is printed without its message', (_, crash) => {
  // Node shows the line of the source as well.
  const spoken = `const secret = ['cana', 'ry'].join('');`;
  // As Lambda's runtime does.
  const runtime = ['uncaughtException', 'unhandledRejection']
    .map((event) => `process.on('${event}', (error) => { console.error(error); process.exit(128); });`)
    .join('\n');
  for (const before of ['', runtime]) {
    const output = said(`${spoken} ${before} keepContentOutOfCrashes(); ${crash}`);
    expect(output).toMatch(/TypeError|SyntaxError/);
    expect(output).not.toContain('canary');
    // There is something to guard against.
    expect(said(`${spoken} ${before} ${crash}`)).toContain('canary');
  }
});
