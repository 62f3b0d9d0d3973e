import { describe, expect, test } from 'vitest';
import { type ApiClient, ApiUnreachable } from '../../cli/apiClient.ts';
import { watchBatch } from '../../cli/watchBatch.ts';

/** A client whose looks end so, one after the other; the last one again and again. */
function clientOf(...looks: ('in_progress' | 'completed' | 'unreachable')[]): ApiClient {
  let asked = 0;
  const call = async () => {
    const status = looks[Math.min(asked++, looks.length - 1)];
    if (status === 'unreachable') throw new ApiUnreachable('The API cannot be reached');
    return { body: { status, request_counts: { total: 1, completed: 0, failed: 0 } } };
  };
  // Of an answer it has what a watcher looks at.
  return { url: '', call: call as unknown as ApiClient['call'] };
}

describe('watching a batch', () => {
  test('outlasts an API that is out of reach for a while', async () => {
    const client = clientOf('in_progress', 'unreachable', 'unreachable', 'completed');
    const batch = await watchBatch({ client, pollMs: 0, patienceMs: 60_000 }, 'batch_1');
    expect(batch.status).toBe('completed');
  });

  test('ends where there is no patience, as with a local system that was stopped', async () => {
    const client = clientOf('in_progress', 'unreachable');
    await expect(watchBatch({ client, pollMs: 0, patienceMs: 0 }, 'batch_1')).rejects.toBeInstanceOf(ApiUnreachable);
  });
});
