import type { FigureId } from './figureTable.ts';

/** The median of what was measured several times, with both ends; `note` is for people. */
export type Reading = { value: number; min: number; max: number; note?: string };
export type Readings = Partial<Record<FigureId, Reading>>;

export type Bench = {
  /** How often each of two things is measured. */
  repeats: number;
  /** Whether the figure was asked for. */
  wants(id: FigureId): boolean;
  say(text: string): void;
};

/** Figures that share what they are measured with. */
export type FigureGroup = { ids: readonly FigureId[]; measure(bench: Bench): Promise<Readings> };

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [lower, upper] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  if (lower === undefined || upper === undefined) throw new Error('There is no median of nothing');
  return (lower + upper) / 2;
}

export function readingOf(values: readonly number[], note?: string): Reading {
  return {
    value: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    ...(note === undefined ? {} : { note }),
  };
}

/** Of pairs that were measured next to each other: the ratio of each, so that what slows both for a while is left out. */
export function ratioOf(ours: readonly number[], theirs: readonly number[], note?: string): Reading {
  if (ours.length !== theirs.length) throw new Error(`${ours.length} measurements against ${theirs.length}`);
  return readingOf(
    ours.map((value, index) => value / (theirs[index] ?? Number.NaN)),
    note,
  );
}

/** Measures two things in turn, each first every other time: what a turn leaves behind falls on both alike. */
export async function alternately(
  repeats: number,
  ours: (turn: number) => Promise<number>,
  theirs: (turn: number) => Promise<number>,
): Promise<{ ours: number[]; theirs: number[] }> {
  const measured = { ours: [] as number[], theirs: [] as number[] };
  for (let turn = 0; turn < repeats; turn++) {
    const first = turn % 2 === 0;
    if (first) measured.ours.push(await ours(turn));
    measured.theirs.push(await theirs(turn));
    if (!first) measured.ours.push(await ours(turn));
  }
  return measured;
}

export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1_000;
}
