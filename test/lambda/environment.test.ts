import { afterEach, expect, it, vi } from 'vitest';
import { functionEnvironment } from '../../shared/lambda/environment.ts';

afterEach(() => vi.unstubAllEnvs());

it('reads and checks the variables of the table of functions', () => {
  vi.stubEnv('SETTINGS', JSON.stringify({ logLevel: 'WARN' }));
  vi.stubEnv('TABLE_NAME', 'batches');
  const environment = functionEnvironment('http/getBatch');
  expect(environment.TABLE_NAME).toBe('batches');
  expect(environment.SETTINGS).toMatchObject({ logLevel: 'WARN', limits: { inputLines: 1_000_000 } });
});

it('names everything that is missing or bad in one message', () => {
  vi.stubEnv('SETTINGS', '{');
  vi.stubEnv('TABLE_NAME', '');
  vi.stubEnv('BUCKET_NAME', undefined);
  expect(() => functionEnvironment('http/downloadBatch')).toThrow(/SETTINGS.*TABLE_NAME.*BUCKET_NAME/);
});
