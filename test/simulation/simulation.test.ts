import { afterAll, beforeAll, expect, test } from 'vitest';
import { isEnded } from '../../shared/domain/batchStatus.ts';
import { createBatch } from '../../shared/usecases/createBatch.ts';
import { chatAnswer } from '../support/modelServer.ts';
import { chatLines, testModels } from '../support/shardWorld.ts';
import { Process, type Simulation, startSimulation } from './simulation.ts';

const LINES = 300;
let simulation: Simulation;
beforeAll(async () => {
  simulation = await startSimulation({
    models: testModels({ kind: 'simulator' }),
    random: { next: () => 0.5 },
    settings: { shards: { maxWorkers: 3 } },
    model: (time) => ({
      call: async () => {
        await time.clock.sleep(30_000);
        return { kind: 'answered', status: 200, body: Buffer.from(chatAnswer('ok')) };
      },
    }),
  });
});
afterAll(() => simulation.close());

test('a batch whose calls take half a minute each runs through the synthesized machines in virtual time', async () => {
  const { stores, portsOf, time, ids } = simulation;
  const text = chatLines(LINES).join('\n');
  const key = `uploads/p/${ids.ulid()}`;
  const head = await simulation.run(async () => {
    await stores.files.put(key, text);
    const fileId = `file_${ids.ulid()}`;
    await stores.uploads.put({
      ...{ projectId: 'p', fileId, key, bytes: text.length },
      ...{ createdAt: time.now, expiresAt: time.now + 86_400_000 },
    });
    const created = await createBatch(
      portsOf(new Process('http/createBatch')),
      { projectId: 'p', role: 'owner' },
      {
        body: {
          ...{ name: 'simulated', type: 'COMPLETIONS', input_file_url: `file://${fileId}` },
          ...{ callback_url: 'http://127.0.0.1/hook', description: null, metadata: {} },
          ...{ completion_window: '24h', on_invalid_line: 'fail' },
        },
        idempotencyKey: undefined,
      },
    );
    for (;;) {
      await time.clock.sleep(1_000);
      const head = await stores.batches.get(created.head);
      if (head && isEnded(head.status) && head.deliveredAt !== undefined) return head;
    }
  });
  expect(head).toMatchObject({ status: 'completed', requestCounts: { total: LINES, completed: LINES, failed: 0 } });
  const output = (await simulation.readText(head.outputFile?.key ?? '')).trimEnd().split('\n');
  expect(output.map((line) => (JSON.parse(line) as { custom_id: string }).custom_id)).toEqual(
    Array.from({ length: LINES }, (_, index) => `request-${index + 1}`),
  );
  // 100 lines a worker, 16 to 20 at a time: some five rounds of half a minute, and no less.
  expect(time.now - head.createdAt).toBeGreaterThan(120_000);
});
