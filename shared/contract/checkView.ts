import * as z from 'zod';
import { BATCH_STATUSES } from '../domain/batchStatus.ts';

const Count = z.int().nonnegative();

/** Answer of `GET /batches/check-batches`: what one look did. */
export const CheckView = z
  .object({
    checked: Count,
    expired: Count,
    recovered: Count,
    failed: Count,
    notified: Count,
    unchanged: Count,
    has_more: z.boolean(),
    batches: z.array(
      z.object({
        id: z.string(),
        from: z.enum(BATCH_STATUSES),
        to: z.enum(BATCH_STATUSES),
        reason: z.string(),
      }),
    ),
  })
  .meta({ id: 'Check' });
export type CheckView = z.output<typeof CheckView>;
