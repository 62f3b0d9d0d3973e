const UNIT_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** From one minute to seven days (CONTRACT "The batch object"). */
const SHORTEST_MS = UNIT_MS.m;
const LONGEST_MS = 7 * UNIT_MS.d;

export const DEFAULT_COMPLETION_WINDOW = '24h';
export const COMPLETION_WINDOW = /^[1-9]\d{0,4}[mhd]$/;

/** Milliseconds of `<n>m`, `<n>h` or `<n>d`; undefined where it is none, or out of range. */
export function completionWindowMs(window: string): number | undefined {
  if (!COMPLETION_WINDOW.test(window)) return undefined;
  // The pattern lets only these three through.
  const unit = window.slice(-1) as keyof typeof UNIT_MS;
  const ms = Number(window.slice(0, -1)) * UNIT_MS[unit];
  return ms >= SHORTEST_MS && ms <= LONGEST_MS ? ms : undefined;
}
