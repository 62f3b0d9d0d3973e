import type { Random } from '../support/random.ts';

/**
 * The faults that there are, and how often each happens in a run that has it: of the calls, or the invocations, that it
 * can happen to.
 */
export const FAULTS = {
  /** The table refuses; has done it, and the answer is lost; the same, and the SDK sends it again. */
  table_refused: 0.01,
  table_timed_out: 0.01,
  table_answer_lost: 0.005,
  /** The same of the bucket; and a body that breaks off, a part that was deleted. */
  file_refused: 0.015,
  file_timed_out: 0.015,
  file_answer_lost: 0.005,
  body_broken: 0.03,
  part_deleted: 0.02,
  /** Step Functions refuses to start, starts and does not say so, cannot be asked; executions vanish or are cut off. */
  start_refused: 0.15,
  start_timed_out: 0.15,
  describe_refused: 0.15,
  execution_lost: 0.15,
  execution_cut_off: 0.2,
  /** Invocations: none; its answer is lost; two at once; again, when nobody thinks of it any more. */
  not_invoked: 0.03,
  answer_lost: 0.04,
  invoked_twice: 0.05,
  invoked_again_later: 0.05,
  /** The process: dies before a call, after it, and while it is on its way; stands still; is slow. */
  killed_before: 0.001,
  killed_after: 0.001,
  killed_call_arrives: 0.001,
  frozen: 0.002,
  slow: 0.05,
  /** The due index leaves out what is due, or names what is not. */
  due_omitted: 0.3,
  due_stale: 0.3,
  /** A clock that is wrong from the start, or jumps. */
  clock_wrong: 0.2,
  clock_jumps: 0.002,
  /** The receiver is not reached, or its answer is lost. */
  receiver_unreachable: 0.2,
  receiver_answer_lost: 0.2,
  /** Model calls. */
  model_429: 0.04,
  model_429_retry_after: 0.03,
  model_5xx: 0.03,
  model_overloaded: 0.02,
  model_network: 0.03,
  model_timeout: 0.01,
  model_garbled: 0.005,
  model_oversized: 0.002,
  /** Nothing but faults, for minutes: drawn as times. */
  model_outage: 0,
} as const;
export type Fault = keyof typeof FAULTS;

/** How far clocks may be ahead and behind. */
export const SKEW_MS = { ahead: 120_000, behind: 20_000 };
/** The longest that a call, an invocation or a process is held back. */
export const LATE_MS = 12 * 60_000;

export type Weather = {
  /** Chance by fault; 0 where this run has none of it. */
  rates: Record<Fault, number>;
  /** When the last fault may begin, after the start. */
  faultsForMs: number;
  outages: { fromMs: number; toMs: number; how: 'overloaded' | 'cut' }[];
};

const MINUTE_MS = 60_000;

/** About half of all faults, some of them often and others seldom. `calm`: none of them. */
export function drawWeather(random: Random): Weather {
  const share = random.pick([0.15, 0.4, 0.7]);
  const strength = random.pick([0.5, 1, 1, 2]);
  const entries = Object.entries(FAULTS) as [Fault, number][];
  const rates = Object.fromEntries(
    entries.map(([fault, rate]) => [fault, random.chance(share) ? rate * strength * (0.3 + 1.4 * random.next()) : 0]),
  ) as Record<Fault, number>;
  const faultsForMs = random.int(2, 25) * MINUTE_MS;
  const outages = Array.from({ length: random.weighted({ none: 3, one: 2, two: 1 }) === 'none' ? 0 : 1 }, () => {
    const fromMs = random.int(0, faultsForMs);
    const how = random.pick(['overloaded', 'cut'] as const);
    return { fromMs, toMs: fromMs + random.int(10, 600) * 1000, how };
  });
  return { rates, faultsForMs, outages };
}

/** No fault but those that are named. */
export function drawnWeather(rates: Partial<Record<Fault, number>>, faultsForMs: number): Weather {
  const none = Object.fromEntries(Object.keys(FAULTS).map((fault) => [fault, 0])) as Record<Fault, number>;
  return { rates: { ...none, ...rates }, faultsForMs, outages: [] };
}
