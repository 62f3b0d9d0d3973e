import type { SoakResult } from './run.ts';

/** What a run came to, for people. */
export function report({ scene, seconds, violation }: SoakResult): string {
  const { books, counts, longest, model, system, tally } = scene;
  const byEnd = new Map<string, number>();
  for (const { newest, ended } of books.values()) {
    const end = ended ? newest.status : `open (${newest.status})`;
    byEnd.set(end, (byEnd.get(end) ?? 0) + 1);
  }
  const { calls, answers, repeatedAnswers } = model.totals;
  // The first violation ends a run: these three are what it looks for in every file.
  const found = violation ? 'see above' : '0';
  const rows: [string, string][] = [
    ['time', `${Math.round(seconds)} s`],
    ['batches', `${books.size}: ${list(byEnd)}`],
    ['lines checked', `${tally.lines}: ${tally.output} output, ${tally.errors} errors`],
    ['failed lines', list(tally.byCode)],
    [
      'restarts',
      `${system.counts.starts} starts, ${system.counts.stops} stops, ${system.counts.kills} kills, ${system.counts.workerKills} of workers`,
    ],
    ['cancels', `${counts.cancels} answered, ${counts.cancelsTooLate} too late, longest ${longest.cancelMs} ms`],
    ['latest end after a deadline', `${longest.expiryMs} ms`],
    ['retries', `${counts.retries} made, ${counts.retriesRefused} refused`],
    ['partial downloads', String(counts.snapshots)],
    ['model calls', `${calls}, ${answers} answered, ${percent(repeatedAnswers, answers)} of the answers repeated`],
    ['lost, doubled, out of order', found],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function list(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return sorted.map(([name, count]) => `${count} ${name}`).join(', ') || 'none';
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`;
}
