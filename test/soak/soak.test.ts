import { expect, test } from 'vitest';
import { report } from './report.ts';
import { runSoak } from './run.ts';

// Bounds are in states and counts: how long a cancel or an expiry takes says nothing on a machine that is shared.
const ANY_SECONDS = Number.POSITIVE_INFINITY;

test('batches of all kinds end as they should while the system is stopped and killed', async () => {
  const result = await runSoak({
    seed: 20_260_115,
    seconds: 75,
    drainSeconds: 600,
    openBatches: 6,
    restartSeconds: [12, 25],
    bounds: {
      ...{ cancelSeconds: ANY_SECONDS, cancelAfterRestartSeconds: ANY_SECONDS },
      ...{ expirySeconds: ANY_SECONDS, skewMs: 0 },
    },
    brief: true,
    killsWorkers: true,
    onProgress: () => {},
  });
  expect(result.violation, report(result)).toBeUndefined();
  expect(result.scene.tally.lines).toBeGreaterThan(0);
}, 900_000);
