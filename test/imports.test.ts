import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cruise, type ICruiseOptions, type ICruiseResult } from 'dependency-cruiser';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const { forbidden, options } = createRequire(import.meta.url)('../.dependency-cruiser.cjs') as {
  forbidden: NonNullable<ICruiseOptions['ruleSet']>['forbidden'];
  options: Record<string, unknown>;
};

async function violations(baseDir: string, folders: string[]): Promise<{ rules: string[]; modules: number }> {
  const { doNotFollow, tsPreCompilationDeps } = options as ICruiseOptions;
  const { output } = await cruise(folders, {
    baseDir,
    doNotFollow,
    tsPreCompilationDeps,
    validate: true,
    ruleSet: { forbidden },
  } as ICruiseOptions);
  const { modules, summary } = output as ICruiseResult;
  return { rules: [...new Set(summary.violations.map(({ rule }) => rule.name))].sort(), modules: modules.length };
}

function planted(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'batch-api-imports-'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

describe('import directions', () => {
  test('hold in the tree', async () => {
    const { rules, modules } = await violations(ROOT, [
      'infra',
      'functions',
      'shared',
      'local',
      'cli',
      'operations',
      'docs',
      'bench',
    ]);
    expect(rules).toEqual([]);
    expect(modules).toBeGreaterThan(80);
  });

  test.each([
    ['domain-is-pure', 'shared/domain/a.ts', '../adapters/s3/b.ts', 'shared/adapters/s3/b.ts'],
    ['contract-knows-domain', 'shared/contract/a.ts', '../ports.ts', 'shared/ports.ts'],
    ['usecases', 'shared/usecases/a.ts', '../adapters/s3/b.ts', 'shared/adapters/s3/b.ts'],
    ['adapters', 'shared/adapters/s3/a.ts', '../sfn/b.ts', 'shared/adapters/sfn/b.ts'],
    ['providers', 'shared/providers/a.ts', '../usecases/b.ts', 'shared/usecases/b.ts'],
    ['functions', 'functions/http/a.ts', './b.ts', 'functions/http/b.ts'],
    ['infra', 'infra/a.ts', '../functions/http/b.ts', 'functions/http/b.ts'],
    ['local', 'local/a.ts', '../shared/usecases/b.ts', 'shared/usecases/b.ts'],
    ['cli', 'cli/a.ts', '../local/b.ts', 'local/b.ts'],
    ['operations', 'operations/a.ts', '../shared/usecases/b.ts', 'shared/usecases/b.ts'],
    ['docs', 'docs/a.ts', '../shared/usecases/b.ts', 'shared/usecases/b.ts'],
    ['bench', 'infra/a.ts', '../bench/b.ts', 'bench/b.ts'],
    ['lambda', 'shared/lambda/a.ts', '../../local/b.ts', 'local/b.ts'],
  ])('a planted violation of "%s" is found', async (rule, from, specifier, to) => {
    const root = planted({
      [from]: `import { b } from '${specifier}';\nexport const a = b;\n`,
      [to]: 'export const b = 1;\n',
    });
    const { rules } = await violations(
      root,
      [from, to].map((path) => path.split('/')[0] ?? ''),
    );
    expect(rules).toContain(rule);
  });
});
