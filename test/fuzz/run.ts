import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { seededRandom } from '../support/random.ts';
import { mutate } from './mutate.ts';
import type { Target } from './target.ts';
import { TARGETS, type TargetName } from './targets.ts';

/** An input that came out wrong. It lies in the corpus now, where every run of the tests begins with it. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

/** A large input now and then: a thousand of them would take all the time. */
const LARGE_EVERY = 200;

const folderOf = (name: TargetName) => fileURLToPath(new URL(`./corpus/${name}/`, import.meta.url));

export function corpusOf(name: TargetName): Buffer[] {
  const folder = folderOf(name);
  return readdirSync(folder)
    .sort()
    .map((file) => readFileSync(`${folder}${file}`));
}

/**
 * The corpus as it is kept, the large inputs, and then changes of them, until `goesOn` says no. The same inputs for the
 * same seed. Throws `Finding`. Answers how many there were, and how often each thing came of one.
 */
export async function fuzz(
  name: TargetName,
  seed: number,
  goesOn: (executions: number) => boolean,
): Promise<{ executions: number; outcomes: Map<string, number> }> {
  const target = await TARGETS[name]();
  try {
    const kept = corpusOf(name);
    if (kept.length === 0) throw new Error(`There is no corpus for ${name}.`);
    const large = target.large();
    let executions = 0;
    const outcomes = new Map<string, number>();
    const run = async (input: Buffer) => {
      const outcome = await execute(name, target, input);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    };
    for (const input of [...kept, ...large]) {
      await run(input);
      executions++;
    }
    const random = seededRandom(seed).fork(name);
    const small = [...kept, ...large.filter((input) => input.length < 4096)];
    for (; goesOn(executions); executions++) {
      const seeds = executions % LARGE_EVERY === 0 ? large : small;
      await run(mutate(random, seeds));
    }
    return { executions, outcomes };
  } finally {
    await target.close?.();
  }
}

async function execute(name: TargetName, target: Target, input: Buffer): Promise<string> {
  try {
    return await target.check(input);
  } catch (cause) {
    const file = `${createHash('sha256').update(input).digest('hex').slice(0, 16)}.bin`;
    mkdirSync(folderOf(name), { recursive: true });
    writeFileSync(`${folderOf(name)}${file}`, input);
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Finding(`${name}: ${why}\nThe input is test/fuzz/corpus/${name}/${file}, ${input.length} bytes.`, {
      cause,
    });
  }
}
