import type { ModelLimits } from '../../shared/domain/retry/callShare.ts';
import { type BatchSpec, drawBatch } from '../soak/batchSpec.ts';
import type { Random } from '../support/random.ts';
import { drawWeather, type Weather } from './weather.ts';

/** All that a run is made of, drawn from its seed and number. */
export type RunSpec = {
  weather: Weather;
  settings: {
    worker: { commitLines: number; callTimeoutSeconds: number; retryMaxMs: number; drainSeconds: number };
    shards: { maxLines: number; minLines: number; maxWorkers: number };
    [group: string]: Record<string, unknown>;
  };
  timeoutSeconds: { 'workflow/runShard': number; 'workflow/finalizeBatch': number; 'workflow/fetchInput': number };
  /** Of the first model. */
  limits: ModelLimits | undefined;
  /** One project after the other, each with its models to itself; else all at once. */
  inTurn: boolean;
  projects: { batches: BatchSpec[]; rotatesSecret: boolean }[];
};

/** Lines of one batch at most: a line costs a millisecond or two of real time. */
const MAX_LINES = 300;

export function drawRun(random: Random): RunSpec {
  const isBrief = random.chance(0.4);
  const callTimeoutSeconds = random.pick([20, 60]);
  let number = 0;
  return {
    weather: drawWeather(random.fork('weather')),
    settings: {
      check: { lookAgainSeconds: random.pick([20, 60, 120]), graceSeconds: random.pick([10, 60]) },
      notify: { pausesSeconds: [5, 5, 10, 10, 20, 20, ...Array<number>(20).fill(60)] },
      shards: {
        maxLines: random.pick([30, 100, 500]),
        minLines: random.pick([5, 20, 50]),
        maxWorkers: random.pick([2, 4, 8]),
      },
      worker: {
        callTimeoutSeconds,
        commitLines: random.pick([5, 20, 40, 100]),
        retryMaxMs: random.pick([5_000, 20_000]),
        drainSeconds: callTimeoutSeconds + 10,
      },
      snapshots: { refreshSeconds: random.pick([20, 60]) },
    },
    // Short ones hand over, where calls are slow.
    timeoutSeconds: {
      'workflow/runShard': isBrief ? 120 : 900,
      'workflow/finalizeBatch': isBrief ? 90 : 900,
      'workflow/fetchInput': isBrief ? 120 : 900,
    },
    limits: random.chance(0.3)
      ? {
          requests_per_minute: random.pick([60, 300, 1_200]),
          ...(random.chance(0.5) ? { calls_in_flight: random.pick([4, 32]) } : {}),
        }
      : undefined,
    inTurn: false,
    projects: Array.from({ length: random.weighted({ one: 3, two: 1 }) === 'one' ? 1 : 2 }, () => ({
      batches: Array.from({ length: random.int(1, 2) }, () => drawChaosBatch(random, ++number)),
      rotatesSecret: random.chance(0.2),
    })),
  };
}

function drawChaosBatch(random: Random, number: number): BatchSpec {
  const spec = drawBatch(random.fork(`batch ${number}`), number, { brief: true });
  const lines = spec.lines.slice(0, MAX_LINES);
  // Cut after its last line, as far as that is a whole one.
  const text = spec.content.toString('utf8');
  const last = lines.at(-1);
  const content = last ? text.split('\n').slice(0, last.line).join('\n') : text;
  return {
    ...spec,
    lines,
    content: Buffer.from(content),
    completionWindow: spec.completionWindow === '1m' ? random.pick(['1m', '3m', '10m']) : spec.completionWindow,
    // Unpacking is real work beside virtual time: left to the runs of whole systems.
    input: spec.input === 'packed_upload' ? 'upload' : isPacked(spec.input) ? 'plain' : spec.input,
  };
}

const isPacked = (input: BatchSpec['input']) => input === 'gzip' || input === 'encoded' || input === 'busy_first';
