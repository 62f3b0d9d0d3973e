import type { BatchView } from '../shared/contract/batchView.ts';

/** What the commands end with, so that scripts need not read what they print. */
export const EXIT = {
  ok: 0,
  /** Refused, not reachable, broken off, or a batch that did not complete. */
  failure: 1,
  linesFailed: 2,
  mismatch: 3,
  /** EX_USAGE of sysexits.h. */
  usage: 64,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_CODES_HELP = `Exit codes:
  0   done; of a batch that was waited for: every line succeeded
  1   refused, not reachable or broken off; or the batch did not complete
  2   the batch completed, and some of its lines failed
  3   verify: the files are not what the receipt says
  64  the command was called wrongly
  130 stopped by Ctrl-C; the batch goes on`;

/** A thing the caller can put right; its message is all that is printed. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The exit code of a batch that has ended. */
export function exitCodeOf({ status, request_counts }: Pick<BatchView, 'status' | 'request_counts'>): ExitCode {
  if (status !== 'completed') return EXIT.failure;
  return request_counts.failed > 0 ? EXIT.linesFailed : EXIT.ok;
}
