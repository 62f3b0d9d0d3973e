import { statSync } from 'node:fs';
import { join } from 'node:path';
import { bundleFunctions } from '../../infra/bundle.ts';
import { MODELS_PATH } from '../../infra/config.ts';
import { type FunctionName, functions, VARIABLE_NAMES } from '../../shared/contract/functions.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import { type FigureGroup, readingOf } from '../measured.ts';
import { startBenchProcess } from '../processes/benchProcess.ts';
import type { ImportAnswer, ImportQuestion } from '../processes/importTime.ts';

const MB = 1e6;
/** The first reads the file from disk. */
const IMPORTS_A_REPEAT = 2;

/** What every cold start pays for: the largest handler's size, and the time until its code is loaded. */
export const bundles: FigureGroup = {
  ids: ['bundle_mb', 'import_ms'],
  async measure({ repeats, say, wants }) {
    const [largest] = bundlesBySize();
    if (!largest) throw new Error('There are no functions');
    say(`bundle_mb, import_ms: ${largest.name} is the largest`);
    const bundle_mb = readingOf([largest.bytes / MB], largest.name);
    if (!wants('import_ms')) return { bundle_mb };
    const importOnce = async () => {
      const child = await startImports();
      const { milliseconds } = await child.ask({ file: largest.file });
      await child.close();
      return milliseconds;
    };
    await importOnce();
    const milliseconds: number[] = [];
    for (let turn = 0; turn < IMPORTS_A_REPEAT * repeats; turn++) milliseconds.push(await importOnce());
    return { bundle_mb, import_ms: readingOf(milliseconds) };
  },
};

/** Every handler's bundle, as it is deployed, the largest first. */
export function bundlesBySize(): { name: FunctionName; file: string; bytes: number }[] {
  const names = Object.keys(functions) as FunctionName[];
  const entries = Object.fromEntries(names.map((name) => [name, `functions/${name}.ts`]));
  const folders = bundleFunctions(entries, MODELS_PATH, new Set(names.filter((name) => hasModels(name))));
  return names
    .map((name) => ({ name, file: join(folders[name] ?? '', 'index.mjs') }))
    .map((each) => ({ ...each, bytes: statSync(each.file).size }))
    .sort((a, b) => b.bytes - a.bytes);
}

const hasModels = (name: FunctionName) => 'models' in functions[name];

/** A process that imports what it is asked to. */
export function startImports() {
  return startBenchProcess<ImportQuestion, ImportAnswer>(new URL('../processes/importTime.ts', import.meta.url), {
    env: ENVIRONMENT,
  });
}

/** All that any handler reads when it is loaded. */
const ENVIRONMENT = {
  ...Object.fromEntries(VARIABLE_NAMES.map((name) => [name, 'bench'])),
  SETTINGS: JSON.stringify(SettingsSchema.parse({})),
  MODEL_KEY_SECRETS: '{}',
  AWS_REGION: 'us-east-1',
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '512',
};
