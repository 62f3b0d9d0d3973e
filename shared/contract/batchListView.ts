import type { BatchDetail, BatchHead } from '../domain/batch.ts';
import { answerBytes, MAX_ANSWER_BYTES } from './answerSize.ts';
import { type BatchListView, type BatchView, batchView } from './batchView.ts';

type Listed = { head: BatchHead; detail: Pick<BatchDetail, 'description' | 'metadata'> | undefined };

/**
 * A page of batches at `now`. One with the largest fields takes up some 120 KB, so 100 of them would be more than can
 * be answered: then the page ends before them, as if fewer had been asked for.
 */
export function batchListView(listed: readonly Listed[], hasMore: boolean, now: number): BatchListView {
  const batches: BatchView[] = [];
  let bytes = answerBytes(JSON.stringify({ batches, has_more: hasMore }));
  for (const { head, detail } of listed) {
    const view = batchView(head, detail, now);
    bytes += answerBytes(`${JSON.stringify(view)},`);
    if (bytes > MAX_ANSWER_BYTES) return { batches, has_more: true };
    batches.push(view);
  }
  return { batches, has_more: hasMore };
}
