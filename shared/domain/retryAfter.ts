/**
 * Milliseconds that a `Retry-After` header asks to wait: seconds or an HTTP date (RFC 9110 10.2.3). Undefined where
 * there is none or it cannot be read. Never negative; callers bound it.
 */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  const text = header?.trim();
  if (text === undefined || text === '') return undefined;
  // Some servers send fractions, which the RFC does not have.
  if (/^\d+(\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1000);
  // `Date.parse` reads a lone number or odd text as a date; an HTTP date has a month's name and a time.
  if (!/[a-z]{3}.*\d\d:\d\d:\d\d/i.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
