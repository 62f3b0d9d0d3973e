import { setTimeout as pause } from 'node:timers/promises';
import type { BatchWithErrorsView } from '../shared/contract/batchView.ts';
import { isEnded } from '../shared/domain/batchStatus.ts';
import { type ApiClient, ApiUnreachable } from './apiClient.ts';
import { createProgress } from './progress.ts';
import { say } from './terminal.ts';

export async function getBatch(client: ApiClient, id: string): Promise<BatchWithErrorsView> {
  return (await client.call('getBatch', { params: { batch_id: id } })).body;
}

/** Looks at the batch until it has ended, and shows how far it is on stderr. */
export async function watchBatch(
  { client, pollMs, patienceMs }: { client: ApiClient; pollMs: number; patienceMs: number },
  id: string,
): Promise<BatchWithErrorsView> {
  const progress = createProgress(process.stderr.isTTY === true, say);
  let unreachableSince: number | undefined;
  try {
    for (;;) {
      try {
        const batch = await getBatch(client, id);
        unreachableSince = undefined;
        const { total, completed, failed } = batch.request_counts;
        progress.show({ status: batch.status, done: completed + failed, failed, total });
        if (isEnded(batch.status)) return batch;
      } catch (error) {
        if (!(error instanceof ApiUnreachable)) throw error;
        if (unreachableSince === undefined && patienceMs > 0) say(`${error.message}; trying on`);
        unreachableSince ??= performance.now();
        if (performance.now() - unreachableSince >= patienceMs) throw error;
      }
      await pause(pollMs);
    }
  } finally {
    progress.stop();
  }
}
