import { globSync, readFileSync } from 'node:fs';
import { METERED_MESSAGE, type MeteredLine, MeteredLineSchema } from '../../shared/contract/metered.ts';

/** The metered lines in log text: the local run's files, or what CloudWatch gives out; anything else is passed over. */
export function readMeteredLines(text: string): MeteredLine[] {
  return text.split('\n').flatMap((line) => {
    if (!line.includes(`"${METERED_MESSAGE}"`)) return [];
    const parsed = MeteredLineSchema.safeParse(readJson(line.slice(line.indexOf('{'))));
    return parsed.success ? [parsed.data] : [];
  });
}

/** Undefined for what is no JSON: a line that is being written, or that was cut off. */
function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** All of a local run. The logs keep the newest 5 to 10 MB of each function: some 10,000 invocations. */
export function readLocalMeter({ dataDir }: { dataDir: string }): MeteredLine[] {
  // The older file first.
  return globSync('logs/*.{log.1,log}', { cwd: dataDir })
    .sort()
    .reverse()
    .flatMap((file) => readMeteredLines(readFileSync(`${dataDir}/${file}`, 'utf8')));
}
