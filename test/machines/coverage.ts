import type { Definition } from './definitions.ts';

/** What stands for the end of an execution among the ways through a machine. */
const END = '(end)';

/**
 * Every way that a definition names, as `from → to`: transitions, each branch of each Choice and each Catch, and the
 * ends. The states of a map's children are `<map>/<state>`.
 */
export function waysOf({ States }: Definition, prefix = ''): string[] {
  return Object.entries(States).flatMap(([name, state]) => {
    const targets = [
      ...(state.Choices ?? []).map(({ Next }) => Next),
      ...(state.Default === undefined ? [] : [state.Default]),
      ...(state.Next === undefined ? [] : [state.Next]),
      ...(state.Catch ?? []).map(({ Next }) => Next),
    ];
    // Two branches with one target look the same from outside, so that one of them could go untried.
    if (new Set(targets).size < targets.length) throw new Error(`Two ways lead from ${prefix}${name} to one state`);
    const own = targets.length === 0 ? [way(prefix, name, END)] : targets.map((to) => way(prefix, name, to));
    return [...own, ...(state.ItemProcessor ? waysOf(state.ItemProcessor, `${prefix}${name}/`) : [])];
  });
}

/** The ways that one execution took, from the states that it entered in order. `ended`: it was not cut off. */
export function waysTaken(states: string[], { prefix = '', ended }: { prefix?: string; ended: boolean }): string[] {
  return states.flatMap((name, at) => {
    const to = states[at + 1] ?? (ended ? END : undefined);
    return to === undefined ? [] : [way(prefix, name, to)];
  });
}

const way = (prefix: string, from: string, to: string) => `${prefix}${from} → ${to}`;
