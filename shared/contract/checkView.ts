import * as z from 'zod';
import { BATCH_STATUSES } from '../domain/batchStatus.ts';

const Count = z.int().nonnegative();

/** Why the check moved a batch on. The sentences are OpenAPI's. */
export const CHECK_REASONS = {
  window_over: 'Its completion window was over and its machine had not noticed: stopped, and what it has is gathered.',
  cancel_not_carried_out: 'It was cancelled, but what ran was not stopped: stopped now, and what it has is gathered.',
  execution_not_started: 'Its execution was on the record but not in Step Functions: started.',
  execution_failed: 'Its execution had failed: the next attempt goes on from what was committed.',
  execution_timed_out: 'Its execution had run out of time: the next attempt goes on from what was committed.',
  execution_aborted: 'Its execution had been stopped from outside: the next attempt goes on from what was committed.',
  execution_outdated:
    'Its execution was of a version that the code does not know any more: the next attempt goes on in the new one.',
  execution_succeeded: 'Its execution had ended and the batch had not: the next attempt goes on.',
  ending_failed: 'Its results could not be gathered in many attempts: another one, and so on each hour.',
  step_died: 'Too many attempts in a row committed nothing: it is failed, and what it has is gathered.',
  notification_not_started: 'It had ended and no execution told its receiver: one is started.',
  notification_lost: 'The execution that told its receiver had ended too early: the next one goes on.',
} as const;
export type CheckReason = keyof typeof CHECK_REASONS;

const described = Object.entries(CHECK_REASONS).map(([reason, sentence]) => `- ${reason}: ${sentence}`);

/** Answer of `GET /batches/check-batches`: what one look did. */
export const CheckView = z
  .object({
    checked: Count,
    expired: Count,
    recovered: Count,
    failed: Count,
    notified: Count,
    unchanged: Count,
    has_more: z.boolean().meta({
      description: 'There are due batches that this call had no time for, or was not allowed to look at: call again.',
    }),
    batches: z
      .array(
        z.object({
          id: z.string(),
          from: z.enum(BATCH_STATUSES),
          to: z.enum(BATCH_STATUSES).meta({ description: 'What it is, or will be once its results are gathered.' }),
          // The keys of an object that has some.
          reason: z.enum(Object.keys(CHECK_REASONS) as [CheckReason]).meta({ description: described.join('\n') }),
        }),
      )
      .meta({ description: 'Those that were moved on, 1,000 at most.' }),
  })
  .meta({ id: 'Check' });
export type CheckView = z.output<typeof CheckView>;
