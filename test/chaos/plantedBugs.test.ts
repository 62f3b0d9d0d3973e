import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { PLANTED_BUGS, type PlantedBug } from './plantedBugs.ts';
import { type RunResult, runSimulated } from './simulatedRun.ts';
import { startChaosStack } from './stack.ts';

// A guard that was never seen failing is no guard.

const SEED = 1;
/** Runs in which a bug must have shown. */
const RUNS = 15;

/** On a stack of its own: what a bug has left open does not meet another run. */
async function runOf(run: number, bug: PlantedBug): Promise<RunResult> {
  const stack = await startChaosStack();
  try {
    return await runSimulated({ stack, seed: SEED, run, bug });
  } finally {
    await stack.close();
  }
}

describe('a planted bug is caught', () => {
  test.each(PLANTED_BUGS.map((bug) => [bug.name, bug] as const))('%s', async (_, bug) => {
    // The run that showed it last comes first.
    for (const number of [bug.shownBy, ...Array.from({ length: RUNS }, (_, index) => index + 1)]) {
      const { violation } = await runOf(number, bug);
      if (!violation) continue;
      expect(violation.message).toMatch(bug.caughtBy);
      // It is the bug that is caught, not what the run does beside it.
      const harmless = await runOf(number, { ...bug, plant: () => (_call, proceed) => proceed() });
      expect(harmless.violation).toBeUndefined();
      return;
    }
    expect.fail(`${bug.name} was not caught in ${RUNS} runs`);
  });
});

test('docs/reliability.md names each planted bug', () => {
  const text = readFileSync(new URL('../../docs/reliability.md', import.meta.url), 'utf8');
  const named = [...text.matchAll(/^\| \*\*(.+?)\*\* \|/gm)].map(([, name]) => name);
  expect(named).toEqual(PLANTED_BUGS.map(({ name }) => name));
});
