import type { Known } from '../soak/ledger.ts';
import { hold } from '../soak/violation.ts';
import { MEAN_CALL_MS } from './model.ts';
import type { RunSpec } from './runSpec.ts';
import type { Fault } from './weather.ts';

const MINUTE_MS = 60_000;
/** A call is begun at once, but for what happens in the same moment. */
const DEADLINE_LEEWAY_MS = 1_000;

/** `lastCallAt`: by the clock of the machine that made it. */
export function holdToDeadline({ id, newest }: Known, lastCallAt: number): void {
  const lateMs = lastCallAt - Date.parse(newest.expires_at);
  hold(lateMs <= DEADLINE_LEEWAY_MS, id, () => `A model was called ${lateMs} ms after its deadline`);
}

/** A batch that has its model to itself uses at least a third of the places that the model has. */
export function holdToItsTime({ newest, lines }: Known, { limits }: RunSpec): void {
  const { id, in_progress_at: from, finalizing_at: to } = newest;
  const mostMs = (3 * lines.length * MEAN_CALL_MS) / (limits?.calls_in_flight ?? MAX_IN_FLIGHT) + MINUTE_MS;
  const tookMs = Date.parse(to ?? '') - Date.parse(from ?? '');
  hold(
    tookMs <= mostMs,
    id,
    () => `Alone at its model it took ${tookMs / 1000} s, where ${mostMs / 1000} s are plenty`,
  );
}

/** Ends a worker, puts another one beside it, or keeps it from committing. */
const DISTURBING = /killed|frozen|answer_lost|invoked|execution|table|file/;
/** Calls in flight at a time, and while one call of a port is slow. */
const MAX_IN_FLIGHT = 64;
const MEANWHILE = 640;

/** A crash repeats at most the calls since the last commit, and those under way. */
export function mostRepeated({ settings, weather }: RunSpec, fault: Fault, where: string): number {
  if (!DISTURBING.test(fault) || !/runShard|execution/.test(where)) return 0;
  const byOne = settings.worker.commitLines + MAX_IN_FLIGHT + (weather.rates.slow > 0 ? MEANWHILE : 0);
  return where === 'execution' ? byOne * settings.shards.maxWorkers : byOne;
}
