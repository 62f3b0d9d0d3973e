import type { Clock, Random } from '../../shared/ports.ts';

/**
 * Runs a synthesized machine in virtual time: the very states, retries and choices of the template. Of the States
 * language it knows what our machines use, and throws for the rest.
 */
type State = Record<string, unknown> & { Type: string; Next?: string };
export type Definition = { StartAt: string; States: Record<string, State> };

export type MachineDeps = {
  /** Invokes the function of that ARN; throws an `Error` whose name is the error's. */
  invoke(functionArn: string, payload: Json): Promise<Json>;
  /** The lines of the list that a map reads. */
  readItems(bucket: string, key: string): Promise<Json[]>;
  clock: Clock;
  random: Random;
  signal: AbortSignal;
};
export type Json = Record<string, unknown>;

/** An error as Step Functions carries it. */
export class StatesError extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** Resolves with the last state's output, or throws what the execution failed with. */
export async function runMachine(definition: Definition, input: Json, deps: MachineDeps): Promise<Json> {
  let data = input;
  let name: string | undefined = definition.StartAt;
  while (name !== undefined) {
    deps.signal.throwIfAborted();
    const state: State | undefined = definition.States[name];
    if (!state) throw new Error(`There is no state ${name}`);
    switch (state.Type) {
      case 'Succeed':
        return data;
      case 'Fail':
        throw new StatesError(String(state.Error), String(state.Cause));
      case 'Choice':
        name = choose(state, data);
        continue;
      case 'Wait':
        await deps.clock.sleep(Number(at(data, String(state.SecondsPath))) * 1000, deps.signal);
        break;
      case 'Task':
      case 'Map': {
        const run = state.Type === 'Task' ? task : map;
        try {
          data = await retried(state, deps, () => run(state, data, deps));
        } catch (error) {
          deps.signal.throwIfAborted();
          const caught: Catcher | undefined = ((state.Catch as Catcher[] | undefined) ?? []).find((catcher) =>
            matches(catcher.ErrorEquals, error),
          );
          if (!caught || !(error instanceof Error)) throw error;
          data = { ...data, [caught.ResultPath.slice(2)]: { Error: error.name, Cause: error.message } };
          name = caught.Next;
          continue;
        }
        break;
      }
      default:
        throw new Error(`The simulation knows no ${state.Type}`);
    }
    if (state.End === true) return data;
    name = state.Next;
  }
  return data;
}

async function task(state: State, data: Json, { invoke }: MachineDeps): Promise<Json> {
  const { FunctionName } = state.Parameters as { FunctionName: string };
  return await invoke(FunctionName, data);
}

/** Children run side by side up to the bound; failed ones are tolerated, as the machine says. */
async function map(state: State, data: Json, deps: MachineDeps): Promise<Json> {
  const processor = state.ItemProcessor as Definition;
  const reader = (state.ItemReader as { Parameters: Json }).Parameters;
  const items = await deps.readItems(String(reader.Bucket), String(at(data, String(reader['Key.$']))));
  const room = Number(at(data, String(state.MaxConcurrencyPath)));
  const queue = items.map((item) => select(state.ItemSelector as Json, data, item));
  const worker = async () => {
    for (let input = queue.shift(); input; input = queue.shift()) {
      try {
        await runMachine(processor, input, deps);
      } catch {
        // Tolerated; when the whole execution was stopped, none of the others begins.
        deps.signal.throwIfAborted();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(room, items.length) }, worker));
  return data;
}

function select(selector: Json, data: Json, item: Json): Json {
  return Object.fromEntries(
    Object.entries(selector).map(([name, value]) => {
      if (!name.endsWith('.$')) return [name, value];
      return [name.slice(0, -2), value === '$$.Map.Item.Value' ? item : at(data, String(value))];
    }),
  );
}

type Catcher = { ErrorEquals: string[]; Next: string; ResultPath: string };
type Retrier = {
  ErrorEquals: string[];
  IntervalSeconds?: number;
  MaxAttempts?: number;
  BackoffRate?: number;
  MaxDelaySeconds?: number;
  JitterStrategy?: string;
};

async function retried<T>(state: State, { clock, random, signal }: MachineDeps, run: () => Promise<T>): Promise<T> {
  const retriers = (state.Retry as Retrier[] | undefined) ?? [];
  const used = new Map<Retrier, number>();
  for (;;) {
    try {
      return await run();
    } catch (error) {
      signal.throwIfAborted();
      const retrier = retriers.find(({ ErrorEquals }) => matches(ErrorEquals, error));
      const tries = retrier ? (used.get(retrier) ?? 0) : 0;
      if (!retrier || tries >= (retrier.MaxAttempts ?? 3)) throw error;
      used.set(retrier, tries + 1);
      const { IntervalSeconds = 1, BackoffRate = 2, MaxDelaySeconds = Number.POSITIVE_INFINITY } = retrier;
      const pause = Math.min(IntervalSeconds * BackoffRate ** tries, MaxDelaySeconds) * 1000;
      await clock.sleep(retrier.JitterStrategy === 'FULL' ? random.next() * pause : pause, signal);
    }
  }
}

/** `States.TaskFailed` stands for every error but a timeout, `States.ALL` for every one. */
function matches(errorEquals: string[], error: unknown): boolean {
  const name = error instanceof Error ? error.name : 'Unknown';
  return errorEquals.some(
    (wanted) =>
      wanted === name || wanted === 'States.ALL' || (wanted === 'States.TaskFailed' && name !== 'States.Timeout'),
  );
}

function choose(state: State, data: Json): string {
  const rules = state.Choices as (Json & { Next: string })[];
  return rules.find((rule) => holds(rule, data))?.Next ?? String(state.Default);
}

function holds(rule: Json, data: Json): boolean {
  if (Array.isArray(rule.And)) return rule.And.every((part: Json) => holds(part, data));
  const value = at(data, String(rule.Variable));
  if ('StringEquals' in rule) return value === rule.StringEquals;
  if ('NumericLessThan' in rule) return Number(value) < Number(rule.NumericLessThan);
  throw new Error(`The simulation knows no rule ${Object.keys(rule).join(', ')}`);
}

function at(data: Json, path: string): unknown {
  return path
    .slice(2)
    .split('.')
    .reduce<unknown>((value, name) => (value as Json | undefined)?.[name], data);
}
