import type { BatchHead, BatchRef } from '../../shared/domain/batch.ts';
import { isEnded } from '../../shared/domain/batchStatus.ts';
import { createBatch } from '../../shared/usecases/createBatch.ts';
import { Process } from './process.ts';
import type { Simulation } from './simulation.ts';

/** Uploads the lines and creates a batch of them. */
export async function submit(
  { stores, portsOf, time, ids }: Simulation,
  lines: string[],
  { completionWindow = '24h', projectId = 'p' } = {},
): Promise<BatchHead> {
  const text = lines.join('\n');
  const fileId = `file_${ids.ulid()}`;
  const key = `uploads/${projectId}/${fileId}`;
  await stores.files.put(key, text);
  const expiresAt = time.now + 86_400_000;
  await stores.uploads.put({ projectId, fileId, key, bytes: text.length, createdAt: time.now, expiresAt });
  const body = {
    ...{ name: 'simulated', type: 'COMPLETIONS' as const, input_file_url: `file://${fileId}` },
    ...{ callback_url: 'http://127.0.0.1/hook', description: null, metadata: {} },
    ...{ completion_window: completionWindow, on_invalid_line: 'fail' as const },
  };
  const created = await createBatch(
    portsOf(new Process('http/createBatch')),
    { projectId, role: 'owner' },
    { body, idempotencyKey: undefined },
  );
  return created.head;
}

/** Each look is a real read: one each second would make hours long. */
const LOOK_MS = 10_000;

export async function untilEnded({ time, stores }: Simulation, ref: BatchRef): Promise<BatchHead> {
  for (;;) {
    await time.clock.sleep(LOOK_MS);
    const head = await stores.batches.get(ref);
    if (head && isEnded(head.status)) return head;
  }
}
