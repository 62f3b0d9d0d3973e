/**
 * How long a snapshot of a running batch's results is offered, and when its files may go. A URL outlives the look at
 * the record that it was signed after:
 *
 *   n ready ──────── n+1 ready ─┬─ the last look that still saw n alone ─── its URL dies ─┤ n is deleted
 *                               └ margin ┘└────────── downloadUrlSeconds ────────────────┘
 */
type Ready = { snapshot: number; readyAt: number };

/** Longer than an API call takes (29 s) between reading the record and signing. */
const LOOK_MARGIN_MS = 60_000;
/**
 * The bucket's rule deletes snapshots a day after they were written at the earliest; an hour of it is for the time
 * between a snapshot's first file and its record.
 */
const KEPT_MS = 23 * 3_600_000;

/** The newest of these whose files will be there as long as a URL that is signed now. */
export function newestSnapshot<R extends Ready>(
  ready: readonly R[],
  now: number,
  downloadUrlSeconds: number,
): R | undefined {
  const newest = ready.at(-1);
  return newest && now + downloadUrlSeconds * 1000 < newest.readyAt + KEPT_MS ? newest : undefined;
}

/** Those that no living URL can name any more, of snapshots in order. Never the newest. */
export function outlivedSnapshots<R extends Ready>(ready: readonly R[], now: number, downloadUrlSeconds: number): R[] {
  return ready.filter((_, index) => {
    const next = ready[index + 1];
    return next !== undefined && now >= next.readyAt + LOOK_MARGIN_MS + downloadUrlSeconds * 1000;
  });
}
