import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
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
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StartError } from './dataFolder.ts';
import { checkMachine } from './stepfunctions/checkMachine.ts';
import { readAssembly } from './template/assembly.ts';
import { planFromAssembly } from './template/readTemplate.ts';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What the template and the bundles are made from. */
const SOURCES = [
  'infra/**/*.ts',
  'functions/**/*.ts',
  'shared/**/*.ts',
  'config.json',
  'package.json',
  'package-lock.json',
];

/** Assemblies by a hash of what they are made from, shared by all local runs of this checkout. */
export const SYNTH_CACHE = join(ROOT, 'node_modules', '.cache', 'batch-api', 'synth');

/** The stage of `config.json` that runs on one machine. */
const STAGE = 'local';

export type SynthOptions = {
  cacheDir?: string;
  modelsFile: string;
  /** Merged into the settings of the stage `local`. */
  settings: Record<string, unknown>;
};

/** Synthesizes the stage `local` as `cdk deploy` would, unless that was done before; answers the assembly's folder. */
export async function synthesize({ cacheDir = SYNTH_CACHE, modelsFile, settings }: SynthOptions): Promise<string> {
  const dir = join(cacheDir, sourceHash(modelsFile, settings));
  if (existsSync(dir)) {
    utimesSync(dir, new Date(), new Date());
    return dir;
  }
  mkdirSync(cacheDir, { recursive: true });
  // Made aside and put into place whole: another run may be at the same.
  const making = mkdtempSync(join(cacheDir, MAKING));
  try {
    const context = { stage: STAGE, models: modelsFile, settings };
    // CDK's own check of the template takes seconds; `cdk deploy` makes it, and the tests.
    await runSynth({ CDK_OUTDIR: making, CDK_CONTEXT_JSON: JSON.stringify(context), CDK_VALIDATION: 'false' });
    for (const { name, definition } of planFromAssembly(readAssembly(making)).machines)
      checkMachine(definition, `The state machine ${name}`);
    try {
      renameSync(making, dir);
    } catch (error) {
      if (!existsSync(dir)) throw error;
    }
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  dropOldest(cacheDir);
  return dir;
}

/** Each assembly holds every bundle, about 25 MB. */
const KEPT_ASSEMBLIES = 8;
const MAKING = 'making-';
/** A synth takes seconds: what is older was left behind by one that was killed. */
const ABANDONED_AFTER_MS = 3_600_000;

function dropOldest(cacheDir: string): void {
  const byAge = readdirSync(cacheDir)
    .flatMap((name) => {
      const path = join(cacheDir, name);
      // Another run may have put it into place, or dropped it, just now.
      const usedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
      return usedMs === undefined ? [] : [{ name, path, usedMs }];
    })
    .sort((a, b) => b.usedMs - a.usedMs);
  const made = byAge.filter(({ name }) => !name.startsWith(MAKING)).slice(KEPT_ASSEMBLIES);
  const abandoned = byAge.filter(
    ({ name, usedMs }) => name.startsWith(MAKING) && usedMs < Date.now() - ABANDONED_AFTER_MS,
  );
  for (const { path } of [...made, ...abandoned]) rmSync(path, { recursive: true, force: true });
}

/** The models file counts by what is in it: where it lies leaves no trace in the assembly. */
function sourceHash(modelsFile: string, settings: Record<string, unknown>): string {
  const hash = createHash('sha256').update(JSON.stringify([STAGE, settings, process.version]));
  for (const file of globSync(SOURCES, { cwd: ROOT }).sort()) {
    hash.update(`\0${file}\0`).update(readFileSync(join(ROOT, file)));
  }
  return hash.update('\0models\0').update(readFileSync(modelsFile)).digest('hex').slice(0, 24);
}

async function runSynth(variables: Record<string, string>): Promise<void> {
  const child = spawn(process.execPath, [join(ROOT, 'infra/app.ts')], {
    cwd: ROOT,
    env: { ...process.env, NODE_OPTIONS: '', ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => said.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0)
    throw new StartError(`The stack could not be synthesized:\n${Buffer.concat(said).toString().trimEnd()}`);
}
