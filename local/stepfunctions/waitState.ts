import type { Clock } from './clock.ts';
import { LONGEST_WAIT_SECONDS } from './features.ts';
import type { StateBody } from './machineRun.ts';
import { compilePath } from './payloadTemplate.ts';
import { type Json, runtimeError } from './statesError.ts';

/** A Wait state, on the clock of the local run. Its output is its input. */
export function loadWait(state: Record<string, unknown>, clock: Clock): StateBody {
  const path = state.SecondsPath ?? state.TimestampPath;
  const ofPath = typeof path === 'string' ? compilePath(path) : undefined;
  const isTimestamp = 'Timestamp' in state || 'TimestampPath' in state;
  // One of the four fields is there: the definition was checked when it was loaded.
  const fixed = (state.Seconds ?? state.Timestamp) as Json;
  return async (input, run) => {
    const value = ofPath ? await ofPath(input, run.context) : fixed;
    const ms = isTimestamp ? timestampMs(value) - clock.now() : secondsMs(value);
    if (ms > LONGEST_WAIT_SECONDS * 1_000) {
      throw runtimeError(`The local run waits at most ${LONGEST_WAIT_SECONDS} seconds, not ${ms / 1_000}.`);
    }
    if (ms > 0) await clock.sleep(ms, run.signal);
    return input;
  };
}

function secondsMs(value: Json): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) {
    throw runtimeError(`A wait of ${JSON.stringify(value)} is not a whole number of seconds.`);
  }
  return value * 1_000;
}

function timestampMs(value: Json): number {
  const ms = typeof value === 'string' && /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(value) ? Date.parse(value) : NaN;
  if (Number.isNaN(ms)) throw runtimeError(`A wait until ${JSON.stringify(value)} is not until a timestamp.`);
  return ms;
}
