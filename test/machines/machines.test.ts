import { afterAll, beforeAll, expect, test } from 'vitest';
import { waysOf } from './coverage.ts';
import { MACHINES } from './definitions.ts';
import { openStage, type Stage } from './stage.ts';
import { batchMachineSuite } from './suites/batchMachine.ts';
import { everyStateSuite } from './suites/everyState.ts';
import { loopMachinesSuite } from './suites/loopMachines.ts';

/**
 * The machines of the template, run on the local engine: every way through them, with scripted functions and the real
 * S3 of the local run behind the map.
 */
let opened: Stage;
beforeAll(async () => {
  opened = await openStage();
});
afterAll(async () => opened?.close());
const stage = () => opened;

batchMachineSuite(stage);
loopMachinesSuite(stage);
everyStateSuite(stage);

// The last one: it looks at what those before it have done.
test.each(MACHINES)('every state, branch and catch of the %s machine was taken by these tests', (machine) => {
  const untried = waysOf(stage().machines.definitions[machine]).filter((way) => !stage().taken[machine].has(way));
  expect(untried).toEqual([]);
});
