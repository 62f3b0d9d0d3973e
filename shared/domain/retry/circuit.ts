import * as z from 'zod';

/**
 * What all workers know of a model that is down as a whole. While its circuit is open nobody calls the model but one
 * prober, each time `retryAt` has come; the lines wait and use up no attempts.
 *
 *   closed ── 5 faults in a row in one worker ──► open ──┐ a probe failed: a longer pause
 *      ▲                                           │ ▲    │
 *      └──────── a call was served ────────────────┘ └────┘
 */
const Open = z.object({
  state: z.literal('open'),
  /** Probes that failed, the faults that opened it counted as the first; goes up each time. */
  failures: z.int().positive(),
  openedAt: z.int().nonnegative(),
  retryAt: z.int().nonnegative(),
  /** One worker probes, and has until then to say how it went. */
  prober: z.string().optional(),
  probeUntil: z.int().nonnegative().optional(),
});
const Closed = z.object({ state: z.literal('closed'), closedAt: z.int().nonnegative() });

export const CircuitSchema = z.discriminatedUnion('state', [Open, Closed]);
export type Circuit = z.infer<typeof CircuitSchema>;
export type OpenCircuit = z.infer<typeof Open>;

/** Calls in a row that failed as if the model were down, of whatever lines, before a worker opens the circuit. */
export const FAULTS_TO_OPEN = 5;

/** Longer than a call's own timeout, which ends the probe: then another worker may probe. */
export const PROBE_MARGIN_MS = 15_000;

/**
 * A model that is down longer than this may be brought down by the very line that probes it, so each failed probe uses
 * up one of its line's attempts from then on. Outages of ten minutes are common, and must cost no line anything.
 */
export const PATIENCE_MS = 12 * 60_000;

/** Somebody else closed the circuit so shortly ago: the model was up for others. */
export const RECENTLY_MS = 2 * 60_000;

const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 60_000;
/** Who is down for so long is looked at less often. */
const LONG_OUTAGE_MS = 30 * 60_000;
const LONGEST_PAUSE_OF_LONG_OUTAGE_MS = 5 * 60_000;

/** Before the next probe, after so many failures: doubled each time. */
export function probePauseMs(failures: number, outageMs: number): number {
  const longest = outageMs < LONG_OUTAGE_MS ? LONGEST_PAUSE_MS : LONGEST_PAUSE_OF_LONG_OUTAGE_MS;
  return Math.min(longest, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
}

/** Whether the next probe may be made. No pause is longer: a time beyond was written by a clock that ran ahead. */
export function isProbeDue({ retryAt }: OpenCircuit, now: number): boolean {
  return now >= retryAt || retryAt > now + LONGEST_PAUSE_OF_LONG_OUTAGE_MS;
}

/** The circuit after one more failure; `before`: the one that was found open. */
export function openedCircuit(before: OpenCircuit | undefined, now: number): OpenCircuit {
  const failures = (before?.failures ?? 0) + 1;
  const openedAt = before?.openedAt ?? now;
  return { state: 'open', failures, openedAt, retryAt: now + probePauseMs(failures, now - openedAt) };
}
