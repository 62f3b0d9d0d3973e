import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Stack } from '../simulation/stack.ts';
import { addTo, emptyTotals, report } from './report.ts';
import { runSimulated } from './simulatedRun.ts';
import { startChaosStack } from './stack.ts';
import { FAULTS } from './weather.ts';

const SEED = 1;
const RUNS = 40;

let stack: Stack;
beforeAll(async () => {
  stack = await startChaosStack();
});
afterAll(() => stack.close());

test('batches of all kinds end as they should under faults of all kinds', async () => {
  const totals = emptyTotals();
  for (let run = 1; run <= RUNS; run++) {
    const result = await runSimulated({ stack, seed: SEED, run });
    addTo(totals, result);
    expect(result.violation, `npm run chaos -- --seed ${SEED} --run ${run}\n${report(totals, 0)}`).toBeUndefined();
  }
  expect(totals.lines).toBeGreaterThan(5_000);
  // No kind of fault is one that never happens.
  expect([...totals.faults.keys()].sort()).toEqual(Object.keys(FAULTS).sort());
}, 600_000);

test('the same seed and number make the same run, call by call', async () => {
  const other = await startChaosStack();
  // Other batches have been in the first table before.
  const digests: string[] = [];
  for (const on of [stack, other]) digests.push((await runSimulated({ stack: on, seed: SEED + 1, run: 7 })).digest);
  await other.close();
  expect(digests[0]).toBe(digests[1]);
});
