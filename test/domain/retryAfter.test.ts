import { expect, test } from 'vitest';
import { parseRetryAfter } from '../../shared/domain/retryAfter.ts';

const NOW = Date.parse('2026-01-15T10:30:00Z');

test.each([
  ['0', 0],
  ['120', 120_000],
  [' 7 ', 7_000],
  ['1.5', 1_500],
  ['Thu, 15 Jan 2026 10:31:00 GMT', 60_000],
  ['Thursday, 15-Jan-26 10:31:00 GMT', 60_000],
  ['Thu, 15 Jan 2026 10:00:00 GMT', 0],
])('a Retry-After of "%s" is %d ms', (header, expected) => {
  expect(parseRetryAfter(header, NOW)).toBe(expected);
});

test.each([undefined, '', 'soon', '-5', '1e3', '2026-01-15', 'NaN'])('a Retry-After of %s is none', (header) => {
  expect(parseRetryAfter(header, NOW)).toBeUndefined();
});
