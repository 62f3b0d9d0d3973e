import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ROOT } from '../../local/synth.ts';

const run = async (command: 'cost' | 'simulate', ...options: string[]) => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'bench', `${command}.ts`), ...options]);
  return stdout;
};

test('cost prints the fees of each service beside those of the model', async () => {
  const text = await run('cost', '--lines', '1000000', '--latency', '1s', '--tokens', '500');
  for (const name of ['Step Functions', 'Lambda', 'S3', 'DynamoDB', 'API Gateway', 'All of AWS', 'The model'])
    expect(text).toContain(name);
  expect(text).toContain('50 shards of 20,000 lines');
});

test('the model’s fees are tokens times its prices', async () => {
  const options = [
    '--lines',
    '1e6',
    '--tokens',
    '500',
    '--prompt-tokens',
    '100',
    '--price-in',
    '1',
    '--price-out',
    '2',
  ];
  const { model, total } = JSON.parse(await run('cost', ...options, '--json'));
  expect(model).toBeCloseTo(100 + 2 * 500);
  expect(total).toBeGreaterThan(0);
  expect(total).toBeLessThan(0.35);
});

test('simulate shows a tenth, and a tenth of that, beside what was asked for', async () => {
  const text = await run('simulate', '--lines', '100000000');
  for (const part of ['1,000,000 lines', '10,000,000 lines', '100,000,000 lines']) expect(text).toContain(part);
  expect(text).toContain('refused at validation');
});

test('an option that cannot be read is named', async () => {
  await expect(run('cost', '--latency', 'soon')).rejects.toThrow(/latency.*such as 800ms/s);
  await expect(run('simulate', '--lines', '0')).rejects.toThrow(/whole number above 0/);
  await expect(run('cost', '--prompt-tokens', 'x')).rejects.toThrow(/whole number/);
  await expect(run('cost', '--stage', 'none')).rejects.toThrow(/no stage "none"/);
});

test('cost sums what a stage has metered', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'batch-api-metered-')), 'logs.txt');
  const line = {
    message: 'metered',
    timestamp: '2026-01-15T10:30:00.000Z',
    function: 'planShards',
    kind: 'step',
    batch_id: 'batch_1',
    next: 'process',
    duration_ms: 2_000,
    memory_mb: 512,
    dynamodb: { read_units: 3, write_units: 1, refused_writes: 0, requests: 4 },
    s3: { puts: 2, gets: 2, free: 0 },
    states: { requests: 0 },
    secrets: { requests: 0 },
  };
  writeFileSync(file, `REPORT RequestId: 1\n${JSON.stringify(line)}\n${JSON.stringify(line)}\n`);
  const { invocations, use } = JSON.parse(await run('cost', '--metered', file, '--json'));
  expect(invocations).toBe(2);
  expect(use).toMatchObject({ stateTransitions: 6, lambdaGbSeconds: 2, s3Puts: 4, dynamoDbReadUnits: 6 });
});
