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
