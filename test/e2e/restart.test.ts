import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { createBatchClient } from '../support/batchClient.ts';
import { makeDataDir, startTestRun } from '../support/localRun.ts';
import { chatAnswer, promptOf, startModelServer, writeModels } from '../support/modelServer.ts';
import { startTestReceiver } from '../support/receiver.ts';

test('a batch that was running when the local run ended goes on when it starts again on the same data', async () => {
  const LINES = 400;
  let calls = 0;
  const midway = Promise.withResolvers<void>();
  const model = await startModelServer((request) => {
    if (++calls === 100) midway.resolve();
    return { status: 200, body: chatAnswer(`echo ${promptOf(request)}`), afterMs: 20 };
  });
  const receiver = await startTestReceiver();
  const options = {
    dataDir: await makeDataDir(),
    modelsFile: writeModels({
      providers: { scripted: { kind: 'openai', base_url: model.baseUrl, api_key: false } },
      models: { default: { provider: 'scripted', model: 'm', endpoints: ['chat/completions'] } },
      agents: { '*': { model: 'default' } },
    }),
    // The check looks again within a second or two instead of minutes; commits are small so that some are there.
    settings: {
      worker: { commitLines: 20, inFlightStart: 4, inFlightMax: 4 },
      check: { lookAgainSeconds: 1 },
    },
  };
  const first = await startTestRun(options);
  const ids = Array.from({ length: LINES }, (_, index) => `line-${index}`);
  const before = createBatchClient(first.url, first.apiKey);
  const { id } = await before.create({
    type: 'COMPLETIONS',
    input_file_url: await before.upload(
      ids
        .map((custom_id) =>
          JSON.stringify({
            custom_id,
            method: 'POST',
            url: '/agents/a/invoke',
            body: { input: `prompt ${custom_id}` },
          }),
        )
        .join('\n'),
    ),
    callback_url: receiver.url,
  });
  await midway.promise;
  expect((await before.get(id)).status).toBe('in_progress');
  await first.close();

  const second = await startTestRun(options);
  try {
    const after = createBatchClient(second.url, second.apiKey);
    const batch = await after.untilEnded(id);
    expect(batch).toMatchObject({ status: 'completed', request_counts: { total: LINES, completed: LINES, failed: 0 } });
    const { output } = await after.results(id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(ids);
    await receiver.waitFor(1);
    // What was committed before the restart was not asked for again: at most what was in flight or uncommitted.
    expect(model.requests.length).toBeLessThan(2 * LINES);
    const told = await after.until(id, ({ delivered_at }) => delivered_at !== null);
    expect(told.status).toBe('completed');
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  } finally {
    await second.close();
    await rm(options.dataDir, { recursive: true, force: true });
    await model.close();
    await receiver.close();
  }
});
