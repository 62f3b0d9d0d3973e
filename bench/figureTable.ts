/** What each figure says, and where it should be. `floor`: beyond it something is broken; `goal`: what is aimed at. */
export type FigureSpec = {
  what: string;
  unit: string;
  better: 'more' | 'less';
  floor: number | null;
  goal: number | null;
};

const ratio = { unit: 'ratio' } as const;
const more = { better: 'more' } as const;
const less = { better: 'less' } as const;

export const FIGURES = {
  pipeline_instant: {
    ...{ what: 'lines/s, submit to completed, of a bare loop’s requests/s', ...ratio, ...more },
    ...{ floor: 0.6, goal: 0.8 },
  },
  pipeline_50ms: { what: 'the same, the model answers after 50 ms', ...ratio, ...more, floor: 0.9, goal: 0.95 },
  validate: { what: 'MB/s of a validation, of reading and JSON.parse', ...ratio, ...more, floor: 0.7, goal: 0.85 },
  worker_memory_growth: {
    ...{ what: 'peak of a worker, input of 5 GB over one of 50 MB', ...ratio, ...less },
    ...{ floor: 1.2, goal: 1.1 },
  },
  worker_memory_mb: { what: 'the same at 5 GB, resident', unit: 'MB', ...less, floor: 512, goal: 512 },
  finalize: { what: 'MB/s of Finalize of 1 GB, of a plain copy', ...ratio, ...more, floor: 0.4, goal: 0.6 },
  fees_per_million: { what: 'AWS fees for 1,000,000 lines at 1 s a call', unit: '$', ...less, floor: 0.45, goal: 0.35 },
  fees_growth: { what: 'fees of ten times the lines', ...ratio, ...less, floor: 10.5, goal: 10.2 },
  fees_naive: { what: 'the fees with an execution a line', unit: '$', ...less, floor: null, goal: null },
  first_call_s: { what: 'create to first model call, warm', unit: 's', ...less, floor: 1, goal: 0.5 },
  list_after: { what: 'page behind 9,000 of 10,000 by after', ...ratio, ...less, floor: 1.5, goal: 1.2 },
  list_skip: { what: 'page behind 9,000 of 10,000 by skip', ...ratio, ...less, floor: 15, goal: 10 },
  bundle_mb: { what: 'largest handler, minified', unit: 'MB', ...less, floor: 1.5, goal: 1 },
  import_ms: { what: 'its import', unit: 'ms', ...less, floor: 300, goal: 200 },
} as const satisfies Record<string, FigureSpec>;

export type FigureId = keyof typeof FIGURES;
export const FIGURE_IDS = Object.keys(FIGURES) as FigureId[];

export const specOf = (id: FigureId): FigureSpec => FIGURES[id];
