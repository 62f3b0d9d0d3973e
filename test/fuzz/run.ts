import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seededRandom } from '../support/random.ts';
import { mutate } from './mutate.ts';

/** What takes bytes. It is added by its entry in `targets.ts`; regressions lie in `corpus/<name>/`. */
export type Target = {
  name: string;
  /** How many inputs the suite makes of the seeds. */
  executions: number;
  /** Good inputs, and large ones made by named recipes: those over 8 KB run once each, as they are. */
  seeds(): Buffer[];
  /** Throws where the product did wrong. */
  check(input: Buffer): Promise<void> | void;
  /** Before the first input, and after the last. */
  start?(): Promise<void>;
  close?(): Promise<void>;
};

type Failure = { input: Buffer; error: unknown; execution: number };

const folderOf = ({ name }: Pick<Target, 'name'>) => join(import.meta.dirname, 'corpus', name);

/** All seeds and regressions, then what is made of them, until `goOn` says no or an input fails. */
export async function fuzz(
  target: Target,
  seed: number,
  goOn: (executions: number) => boolean,
): Promise<{ executions: number; failure?: Failure }> {
  const random = seededRandom(seed);
  const seeds = [...target.seeds(), ...(await readCorpus(target))];
  let executions = 0;
  await target.start?.();
  try {
    for (; executions < seeds.length || goOn(executions); executions++) {
      const input = seeds[executions] ?? mutate(random, seeds);
      try {
        await target.check(input);
      } catch (error) {
        return { executions, failure: { input, error, execution: executions } };
      }
    }
  } finally {
    await target.close?.();
  }
  return { executions };
}

async function readCorpus(target: Target): Promise<Buffer[]> {
  const folder = folderOf(target);
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return Promise.all(names.toSorted().map((name) => readFile(join(folder, name))));
}

/** Its path. Named by what is in it, so that the same input is kept once. */
export async function keep(target: Target, input: Buffer): Promise<string> {
  const folder = folderOf(target);
  await mkdir(folder, { recursive: true });
  const path = join(folder, createHash('sha256').update(input).digest('hex').slice(0, 16));
  await writeFile(path, input);
  return path;
}
