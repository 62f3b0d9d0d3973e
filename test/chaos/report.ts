import type { SoakResult } from '../soak/run.ts';
import type { RunResult } from './simulatedRun.ts';

export type Totals = Pick<
  RunResult,
  'batches' | 'lines' | 'calls' | 'answers' | 'repeatedAnswers' | 'virtualMinutes'
> & {
  runs: number;
  processRuns: number;
  faults: Map<string, number>;
  hasViolation: boolean;
};

export const emptyTotals = (): Totals => ({
  runs: 0,
  processRuns: 0,
  batches: 0,
  lines: 0,
  calls: 0,
  answers: 0,
  repeatedAnswers: 0,
  virtualMinutes: 0,
  faults: new Map(),
  hasViolation: false,
});

export function addTo(totals: Totals, result: RunResult): void {
  totals.runs++;
  for (const each of ['batches', 'lines', 'calls', 'answers', 'repeatedAnswers', 'virtualMinutes'] as const)
    totals[each] += result[each];
  for (const [fault, count] of result.faults) totals.faults.set(fault, (totals.faults.get(fault) ?? 0) + count);
  totals.hasViolation ||= result.violation !== undefined;
}

export function addProcesses(totals: Totals, { scene, violation }: SoakResult): void {
  const { system, model, books, tally } = scene;
  totals.processRuns++;
  totals.batches += books.size;
  totals.lines += tally.lines;
  for (const each of ['calls', 'answers', 'repeatedAnswers'] as const) totals[each] += model.totals[each];
  const { kills, workerKills } = system.counts;
  for (const [fault, count] of [
    ['system_killed', kills],
    ['worker_process_killed', workerKills],
  ] as const)
    totals.faults.set(fault, (totals.faults.get(fault) ?? 0) + count);
  totals.hasViolation ||= violation !== undefined;
}

/** What the runs came to, for people. */
export function report(totals: Totals, seconds: number): string {
  // The first violation ends it all: these three are what it looks for in every file.
  const found = totals.hasViolation ? 'see above' : '0';
  const faults = [...totals.faults].sort(([, a], [, b]) => b - a).map(([name, count]) => `${count} ${name}`);
  const rows: [string, string][] = [
    ['runs', `${totals.runs} in ${Math.round(seconds)} s, ${(totals.virtualMinutes / 60).toFixed(1)} virtual hours`],
    ['of whole systems', String(totals.processRuns)],
    ['batches', String(totals.batches)],
    ['faults injected', faults.join(', ') || 'none'],
    ['lines checked', String(totals.lines)],
    ['lost', found],
    ['doubled', found],
    ['out of order', found],
    ['model calls', `${totals.calls}, ${totals.answers} answered`],
    [
      'repeated model calls',
      `${totals.repeatedAnswers}, ${percent(totals.repeatedAnswers, totals.lines)} of the lines`,
    ],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`;
}
