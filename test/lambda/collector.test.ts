import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../../local/synth.ts';

test('V8 still has the flags that a worker sets: of one that it does not know it only warns', () => {
  const known = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' });
  const source = readFileSync(join(ROOT, 'shared/lambda/collector.ts'), 'utf8');
  const flags = [...source.matchAll(/setFlagsFromString\('--(?:no-)?([a-z-]+)/g)].map(([, flag]) => flag);
  expect(flags).toHaveLength(2);
  for (const flag of flags) expect(known).toContain(`  --${flag} (`);
});
