/**
 * Whether `at` is less than `ms` away from `now`. A time that lies further in the future was stamped by a clock that ran
 * ahead, or is read by one that was set back: it must hold up nothing until it has come.
 */
export function isRecent(at: number, now: number, ms: number): boolean {
  return Math.abs(now - at) < ms;
}
