import * as z from 'zod';
import { FileDigestSchema, type Receipt } from '../domain/batch.ts';

const Count = z.int().nonnegative();
const DigestOrNull = FileDigestSchema.nullable();

/** What was read and written, computed while the files were written: what `verify` checks downloaded files against. */
export const ReceiptView = z
  .object({
    batch_id: z.string(),
    lines: Count.describe('Lines in both files.'),
    completed: Count,
    failed: Count,
    input: DigestOrNull.describe('The input as it was read (unpacked); null where it was never read to its end.'),
    output: DigestOrNull,
    errors: DigestOrNull,
  })
  .meta({ id: 'Receipt' });
export type ReceiptView = z.output<typeof ReceiptView>;

export function receiptView(
  batchId: string,
  { lines, completed, failed, input, output, errors }: Receipt,
): ReceiptView {
  return { batch_id: batchId, lines, completed, failed, input, output, errors };
}
