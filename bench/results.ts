import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import Table from 'cli-table3';
import { FIGURE_IDS, type FigureId, type FigureSpec, specOf } from './figureTable.ts';
import type { Readings } from './measured.ts';

/** `bench/results.json`. */
export type Results = {
  machine: string;
  figures: {
    id: FigureId;
    value: number;
    min: number;
    max: number;
    floor: number | null;
    goal: number | null;
    unit: string;
  }[];
};

export function resultsOf(readings: Readings, machine: string): Results {
  const figures = FIGURE_IDS.flatMap((id) => {
    const reading = readings[id];
    if (!reading) return [];
    const { value, min, max } = reading;
    const { floor, goal, unit } = specOf(id);
    return { id, value, min, max, floor, goal, unit };
  });
  return { machine, figures };
}

export type Standing = 'goal met' | 'short of its goal' | 'below its floor' | '';

export function standingOf({ better, floor, goal }: FigureSpec, value: number): Standing {
  const reaches = (bound: number) => (better === 'more' ? value >= bound : value <= bound);
  if (floor !== null && !reaches(floor)) return 'below its floor';
  if (goal === null) return '';
  return reaches(goal) ? 'goal met' : 'short of its goal';
}

/** Those that make the command fail. */
export function belowFloor({ figures }: Results): FigureId[] {
  return figures.filter(({ id, value }) => standingOf(specOf(id), value) === 'below its floor').map(({ id }) => id);
}

export function resultsTable(readings: Readings): string {
  const table = new Table({
    head: ['figure', 'what', 'median', 'min – max', 'floor', 'goal', ''],
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'left'],
  });
  for (const id of FIGURE_IDS) {
    const reading = readings[id];
    if (!reading) continue;
    const spec = specOf(id);
    const text = (value: number | null) => (value === null ? '' : digits(value));
    const { value, min, max } = reading;
    const spread = min === max ? '' : `${digits(min)} – ${digits(max)}`;
    const unit = spec.unit === 'ratio' ? '' : ` ${spec.unit}`;
    const standing = standingOf(spec, value);
    table.push([id, spec.what, `${digits(value)}${unit}`, spread, text(spec.floor), text(spec.goal), standing]);
  }
  const notes = FIGURE_IDS.flatMap((id) => (readings[id]?.note ? `${id}: ${readings[id].note}` : []));
  return [table.toString(), ...notes].join('\n');
}

function digits(value: number): string {
  return value.toFixed(value >= 100 ? 0 : value >= 20 ? 1 : 2);
}

/** In general words: what the figures lean on, and how busy it was with other things. */
export function describeMachine(): string {
  const model = cpus()[0]?.model.trim() ?? '';
  const memoryGb = Math.round(totalmem() / 2 ** 30);
  const load = loadavg()[0]?.toFixed(1);
  return `${availableParallelism()} cores (${model}), ${memoryGb} GB, Node ${process.versions.node} on ${process.platform}-${process.arch}; load ${load} at the start`;
}
