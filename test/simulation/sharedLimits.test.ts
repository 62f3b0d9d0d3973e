import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead, BatchRef } from '../../shared/domain/batch.ts';
import { isEnded } from '../../shared/domain/batchStatus.ts';
import { type ModelsFile, ModelsFileSchema } from '../../shared/domain/models.ts';
import type { ModelLimits } from '../../shared/domain/retry/callShare.ts';
import { createBatch } from '../../shared/usecases/createBatch.ts';
import { seededRandom } from '../support/random.ts';
import { chatLine } from '../support/shardWorld.ts';
import { callsOf, mostWithin, type SeenCall } from '../support/sharedModel.ts';
import { Process, type Simulation, startSimulation } from './simulation.ts';
import { type Stack, startStack } from './stack.ts';

const SEED = 20_260_115;
const MINUTE_MS = 60_000;
/** What each call takes of a limit on tokens, and what its line allows. */
const TOKENS = { least: 40, most: 360, allowed: 500 };

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack.close());

let simulation: Simulation | undefined;
afterEach(async () => {
  await simulation?.close();
  simulation = undefined;
});

function models(limits: ModelLimits): ModelsFile {
  return ModelsFileSchema.parse({
    providers: { p: { kind: 'simulator' } },
    models: { default: { provider: 'p', model: 'model-1', endpoints: ['chat/completions'], limits } },
  });
}

/** The model notes each call that reaches it, and answers after two to six seconds. */
async function start(limits: ModelLimits, settings: Record<string, unknown> = {}) {
  const calls: SeenCall[] = [];
  const random = seededRandom(SEED);
  simulation = await startSimulation({
    ...{ stack, models: models(limits), random, settings },
    model: (time) => ({
      call: async ({ body }) => {
        const [projectId = '', batchId = ''] = promptOf(body).split(' ');
        const tokens = random.int(TOKENS.least, TOKENS.most);
        calls.push({ at: time.now, projectId, batchId, tokens });
        await time.clock.sleep(random.int(2_000, 6_000));
        return { kind: 'answered', status: 200, body: Buffer.from(answer(tokens)) };
      },
    }),
  });
  return { simulation, calls };
}

const promptOf = (body: Record<string, unknown>) => (body.messages as { content: string }[])[0]?.content ?? '';
const answer = (tokens: number) =>
  JSON.stringify({
    choices: [{ message: { content: 'ok' } }],
    usage: { prompt_tokens: 10, completion_tokens: tokens - 10, total_tokens: tokens },
  });

/** Prompts name the project and the batch, so that the model knows whose call it is. */
async function submit({ stores, portsOf, time, ids }: Simulation, projectId: string, name: string, lines: number) {
  const text = Array.from({ length: lines }, (_, index) => {
    const line = JSON.parse(chatLine(`${projectId} ${name} ${index}`)) as { body: Record<string, unknown> };
    return JSON.stringify({ ...line, body: { ...line.body, max_tokens: TOKENS.allowed } });
  }).join('\n');
  const fileId = `file_${ids.ulid()}`;
  const key = `uploads/${projectId}/${fileId}`;
  await stores.files.put(key, text);
  const expiresAt = time.now + 86_400_000;
  await stores.uploads.put({ projectId, fileId, key, bytes: text.length, createdAt: time.now, expiresAt });
  const created = await createBatch(
    portsOf(new Process('http/createBatch')),
    { projectId, role: 'owner' },
    {
      body: {
        ...{ name, type: 'COMPLETIONS', input_file_url: `file://${fileId}` },
        ...{ callback_url: 'http://127.0.0.1/hook', description: null, metadata: {} },
        ...{ completion_window: '24h', on_invalid_line: 'fail' },
      },
      idempotencyKey: undefined,
    },
  );
  return created.head;
}

async function untilEnded({ time, stores }: Simulation, ref: BatchRef): Promise<BatchHead> {
  for (;;) {
    await time.clock.sleep(500);
    const head = await stores.batches.get(ref);
    if (head && isEnded(head.status)) return head;
  }
}

describe('requests a minute', () => {
  test('hold over all workers, and a small batch beside a large one ends within three times its time alone', async () => {
    const { simulation, calls } = await start({ requests_per_minute: 1_200 }, { shards: { maxWorkers: 12 } });
    const { time } = simulation;
    const timeOf = async (projectId: string, name: string) => {
      const begun = time.now;
      const head = await untilEnded(simulation, await submit(simulation, projectId, name, 50));
      expect(head).toMatchObject({ status: 'completed', requestCounts: { completed: 50, failed: 0 } });
      return time.now - begun;
    };
    const times = await simulation.run(async () => {
      const alone = await timeOf('small', 'alone');
      await submit(simulation, 'large', 'large', 100_000);
      // Until it has the whole of the model.
      while (callsOf(calls, 'large').length < 1_300) await time.clock.sleep(1_000);
      const beside = await timeOf('small', 'beside');
      const sameProject = await timeOf('large', 'small');
      return { alone, beside, sameProject };
    });
    expect(times.beside).toBeLessThanOrEqual(3 * times.alone);
    expect(times.sameProject).toBeLessThanOrEqual(3 * times.alone);
    const most = mostWithin(calls, MINUTE_MS);
    expect(most).toBeLessThanOrEqual(1_200);
    // And are used: 4 % are kept back for calls that begin late.
    expect(most).toBeGreaterThan(1_080);
  });
});

describe('a limit of two calls a minute', () => {
  test('is waited for in Step Functions, as long as it takes', async () => {
    const { simulation, calls } = await start({ requests_per_minute: 2 });
    const heads = await simulation.run(async () => {
      const created = [await submit(simulation, 'a', 'one', 8), await submit(simulation, 'b', 'one', 8)];
      return await Promise.all(created.map((head) => untilEnded(simulation, head)));
    });
    for (const head of heads)
      expect(head).toMatchObject({ status: 'completed', attempt: 1, requestCounts: { completed: 8, failed: 0 } });
    expect(mostWithin(calls, MINUTE_MS)).toBe(2);
    // One after the other has its turn.
    const firstHalf = calls.slice(0, 8);
    expect(callsOf(firstHalf, 'a').length).toBeGreaterThanOrEqual(3);
    expect(callsOf(firstHalf, 'b').length).toBeGreaterThanOrEqual(3);
    const turns = simulation.log.lines.filter(({ message }) => message === 'shard turn');
    expect(turns.filter(({ fields }) => fields?.end === 'idle').length).toBeGreaterThan(8);
  });
});

describe('tokens a minute', () => {
  test('hold over the batches of two projects, which have equal parts whatever the number of their batches', async () => {
    const { simulation, calls } = await start({ tokens_per_minute: 60_000 }, { shards: { maxWorkers: 4 } });
    const { time } = simulation;
    await simulation.run(async () => {
      const heads = [
        await submit(simulation, 'a', 'one', 400),
        await submit(simulation, 'a', 'two', 400),
        await submit(simulation, 'b', 'one', 400),
      ];
      while (callsOf(calls, 'b').length < 300) await time.clock.sleep(1_000);
      for (const head of heads) await simulation.stores.controls.stop(head.batchId, 'cancelled');
    });
    expect(mostWithin(calls, MINUTE_MS, ({ tokens }) => tokens)).toBeLessThanOrEqual(60_000);
    // A minute in which all three were under way.
    const from = (calls[0]?.at ?? 0) + 30_000;
    const share = (projectId: string) => callsOf(calls, projectId, from, from + MINUTE_MS).length;
    expect(share('a') / share('b')).toBeGreaterThan(0.8);
    expect(share('a') / share('b')).toBeLessThan(1.25);
  });
});
