import { runSoak, type SoakResult } from '../soak/run.ts';

/** The seeds of two runs have nothing to do with each other. */
const SEEDS_APART = 1_000_003;
const ANY_SECONDS = Number.POSITIVE_INFINITY;

/**
 * One run of a whole local system over HTTP: it is killed and started again, its workers' processes are killed, its
 * model goes down for seconds. Real processes and real time: what is drawn is the same each time, what meets what is not.
 */
export function runProcesses(seed: number, run: number, onProgress: (text: string) => void): Promise<SoakResult> {
  return runSoak({
    seed: seed * SEEDS_APART + run,
    seconds: 60,
    drainSeconds: 600,
    openBatches: 6,
    restartSeconds: [8, 20],
    bounds: {
      ...{ cancelSeconds: ANY_SECONDS, cancelAfterRestartSeconds: ANY_SECONDS },
      ...{ expirySeconds: ANY_SECONDS, skewMs: 0 },
    },
    brief: true,
    killsWorkers: true,
    onProgress,
  });
}
