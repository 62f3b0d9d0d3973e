import { copyFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * Bundles every handler in one run of esbuild (one process a function would take seconds each): ESM for Node 24, the
 * AWS SDK included, so that what was tested is what runs.
 *
 * @param entries function name → source file, from the root
 * @param modelsPath copied beside the bundles named in `withModels`
 * @returns function name → folder that holds `index.mjs`
 */
export function bundleFunctions(
  entries: Record<string, string>,
  modelsPath: string,
  withModels: ReadonlySet<string>,
): Record<string, string> {
  const outdir = mkdtempSync(join(tmpdir(), 'batch-api-bundle-'));
  buildSync({
    absWorkingDir: ROOT,
    entryPoints: Object.fromEntries(Object.entries(entries).map(([name, file]) => [`${name}/index`, file])),
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    mainFields: ['module', 'main'],
    // Some CommonJS dependencies call `require` for Node's own modules, which an ES module does not have.
    banner: {
      js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
    },
    legalComments: 'none',
    logLevel: 'error',
  });
  const folders: Record<string, string> = {};
  for (const name of Object.keys(entries)) {
    const folder = join(outdir, name);
    if (withModels.has(name)) copyFileSync(modelsPath, join(folder, 'models.json'));
    folders[name] = folder;
  }
  return folders;
}
