import { hash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync, type Metafile } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What the bundles are made from; the lockfile stands for every package. */
const SOURCES = ['functions/**/*.ts', 'shared/**/*.ts', 'infra/bundle.ts', 'infra/bundled/*.mjs', 'package-lock.json'];
/** A build takes seconds on all cores, so bundles are kept until their sources change. */
const CACHE = join(ROOT, 'node_modules', '.cache', 'batch-api', 'bundles');
/** About 13 MB each. */
const KEPT_BUILDS = 4;

/**
 * What a bundle holds in a package's place: every cold start reads and compiles all of its bundle, and these packages are
 * for the most part what no handler uses. A name that such a file lacks fails the build.
 */
const STAND_INS = {
  undici: join(ROOT, 'infra/bundled/undici.mjs'),
  // What that file itself is made of.
  'undici/lib': join(ROOT, 'node_modules/undici/lib'),
  '@aws-sdk/credential-provider-node': join(ROOT, 'infra/bundled/credentialProviderNode.mjs'),
  '@smithy/core/event-streams': join(ROOT, 'infra/bundled/eventStreams.mjs'),
};

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
  const built = build(entries);
  const outdir = mkdtempSync(join(tmpdir(), 'batch-api-bundle-'));
  const folders: Record<string, string> = {};
  for (const name of Object.keys(entries)) {
    folders[name] = join(built, name);
    if (!withModels.has(name)) continue;
    const folder = join(outdir, name);
    mkdirSync(folder, { recursive: true });
    copyFileSync(join(built, name, 'index.mjs'), join(folder, 'index.mjs'));
    copyFileSync(modelsPath, join(folder, 'models.json'));
    folders[name] = folder;
  }
  return folders;
}

/** Answers the folder of the bundles, built now unless the same sources were built before. */
function build(entries: Record<string, string>): string {
  const sources = globSync(SOURCES, { cwd: ROOT })
    .sort()
    .map((file) => [file, hash('sha256', readFileSync(join(ROOT, file)))]);
  const dir = join(CACHE, hash('sha256', JSON.stringify([entries, sources])).slice(0, 24));
  if (existsSync(dir)) {
    utimesSync(dir, new Date(), new Date());
    return dir;
  }
  mkdirSync(CACHE, { recursive: true });
  // Made aside and put into place whole: another process may be at the same.
  const making = mkdtempSync(join(CACHE, 'making-'));
  try {
    runEsbuild(entries, making);
    renameSync(making, dir);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    if (!existsSync(dir)) throw error;
  }
  dropOldest();
  return dir;
}

function dropOldest(): void {
  const byAge = readdirSync(CACHE)
    .map((name) => join(CACHE, name))
    .map((path) => ({ path, usedMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.usedMs - a.usedMs);
  for (const { path } of byAge.slice(KEPT_BUILDS)) rmSync(path, { recursive: true, force: true });
}

function runEsbuild(entries: Record<string, string>, outdir: string): void {
  const { metafile } = buildSync({
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
    alias: STAND_INS,
    // undici's own switch for the build that is part of Node: without its second, experimental HTTP parser.
    define: { esbuildDetection: 'true' },
    // Some CommonJS dependencies call `require` for Node's own modules, which an ES module does not have.
    banner: {
      js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
    },
    legalComments: 'none',
    logLevel: 'error',
    metafile: true,
  });
  requireWhole(metafile);
}

/** esbuild leaves a `require` that it cannot resolve to the run where it stands in a `try`: there it would be missing. */
function requireWhole({ outputs }: Metafile): void {
  const missing = Object.entries(outputs).flatMap(([file, { imports }]) =>
    imports.filter(({ path }) => !isBuiltin(path)).map(({ path }) => `${file}: ${path}`),
  );
  if (missing.length > 0) throw new Error(`The bundles are to be whole. Not in them: ${missing.join(', ')}`);
}
