import * as z from 'zod';

/** What workers poll: run or stop, why, and the deadline. Kept under 200 bytes: every worker reads it each 10 s. */
export const ControlSchema = z.object({
  action: z.enum(['run', 'stop']),
  /** The outcome's kind that the stop is for. */
  reason: z.enum(['cancelled', 'expired', 'failed']).optional(),
  /** Milliseconds since the epoch; nothing is admitted after it. */
  deadline: z.int().nonnegative(),
});
export type Control = z.infer<typeof ControlSchema>;
