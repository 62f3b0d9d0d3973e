import * as z from 'zod';

/**
 * What all workers know of a model that is down as a whole. While it is open nobody calls the model but one prober, each
 * time `retryAt` has come; the lines wait and use up no attempts.
 */
export const CircuitSchema = z.object({
  /** Probes that failed, the faults that opened it counted as the first; goes up each time. */
  failures: z.int().positive(),
  openedAt: z.int().nonnegative(),
  retryAt: z.int().nonnegative(),
  /** One worker probes, and has until then to say how it went. */
  probeUntil: z.int().nonnegative().optional(),
});
export type Circuit = z.infer<typeof CircuitSchema>;

/** Calls in a row that failed as if the model were down, of whatever lines, before a worker opens the circuit. */
export const FAULTS_TO_OPEN = 5;

/** How long a prober may take before another may: longer than a call's own timeout, which ends the probe. */
export const PROBE_MARGIN_MS = 15_000;

/**
 * A model that is down longer than this may be brought down by the very line that probes it, so each probe uses up one
 * of its line's attempts from then on. Outages of ten minutes are common, and must cost no line anything.
 */
export const PATIENCE_MS = 15 * 60_000;

const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 5 * 60_000;

/** Before the next probe, after so many failures: doubled each time, up to five minutes. */
export function probePauseMs(failures: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
}

/** The circuit after one more failure. */
export function openedCircuit(before: Circuit | undefined, now: number): Circuit {
  const failures = (before?.failures ?? 0) + 1;
  return { failures, openedAt: before?.openedAt ?? now, retryAt: now + probePauseMs(failures) };
}
