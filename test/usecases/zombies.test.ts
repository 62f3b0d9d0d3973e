import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { InputRejected } from '../../shared/domain/errors.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import type { InputSource, Receiver, UploadStore } from '../../shared/ports.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';
import { failBatch } from '../../shared/usecases/failBatch.ts';
import { fetchInput } from '../../shared/usecases/fetchInput.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { notifyReceiver } from '../../shared/usecases/notifyReceiver.ts';
import { planShards } from '../../shared/usecases/planShards.ts';
import { readPlan } from '../../shared/usecases/readPlan.ts';
import { validateInput } from '../../shared/usecases/validateInput.ts';
import { type BatchWorld, createTestBatch, headOf, startBatchWorld } from '../support/batchWorld.ts';
import { frozenPorts } from '../support/frozenPorts.ts';
import { commitSegments, layDown, readText } from '../support/runBatch.ts';
import { chatLines, testModels } from '../support/shardWorld.ts';

/**
 * Every step, frozen before each of its calls in turn, wakes up when others have long ended its batch: what ended stays
 * as it ended, head, errors, receipt and the bytes of its files.
 */
const models = testModels({ kind: 'simulator' });
const PLENTY = { remainingMs: () => 900_000 };
const refusing: InputSource = {
  open: () => Promise.reject(new InputRejected('input_file_unreachable', 'It answered 404.')),
};
const serving = (text: string): InputSource => ({
  open: async () => ({
    acceptsRanges: false,
    gzip: false,
    body: (async function* () {
      yield Buffer.from(text);
    })(),
  }),
});
const uploads = { get: async () => undefined } as unknown as UploadStore; // No source here is an upload.
const receivers: Receiver = { post: async () => ({ kind: 'answered', status: 500 }) };

let world: BatchWorld;
beforeAll(async () => {
  world = await startBatchWorld({ check: { maxIdleAttempts: 1 } });
});
afterAll(() => world.close());

const LINES = 3;
const INPUT = chatLines(LINES).join('\n');
type Deps = BatchWorld & { models: typeof models; sources: InputSource; uploads: UploadStore; receivers: Receiver };
const depsOn = (sources = serving(INPUT)): Deps => ({ ...world, models, sources, uploads, receivers });
const runOf = ({ projectId, batchId, attempt }: BatchHead) => ({ version: 1, projectId, batchId, attempt }) as const;

async function fetched(input = INPUT): Promise<BatchHead> {
  const head = await createTestBatch(world, { inputFileUrl: 'https://files.test/a.jsonl', onInvalidLine: 'fail' });
  const key = objectKeys.input(head, 1);
  const { etag } = await world.files.put(key, input);
  await world.batches.setInput(head, 1, { key, bytes: input.length, etag });
  return head;
}
/** In the map, with one of its lines done. */
async function running(): Promise<BatchHead> {
  const { head, ranges } = await layDown(world, await createTestBatch(world), Array(LINES).fill('runnable'), LINES);
  for (const range of ranges) await commitSegments(world, head, range, [[1]]);
  return head;
}

/** What others do meanwhile: the next attempt brings the batch to its end, whatever it takes. */
async function endedByOthers(ref: BatchHead, attempt: 'next' | 'same'): Promise<void> {
  let head = await headOf(world, ref);
  if (attempt === 'next') {
    await world.batches.takeAttempt(head, head.attempt, { idleAttempts: 0, committedAtAttempt: 0 });
    head = await headOf(world, ref);
  }
  const deps = depsOn();
  if (attempt === 'same' && (head.status === 'in_progress' || head.status === 'finalizing')) {
    // So that the results of the one that was frozen are other ones: its lines say another reason.
    await world.batches.move(head, 'cancelling', { now: world.clock.now() });
    head = await headOf(world, ref);
  }
  if (head.status === 'validating' && !head.outcome) {
    if (!head.input) await fetchInput(deps, runOf(head), PLENTY);
    await validateInput(deps, runOf(head), PLENTY);
    head = await headOf(world, ref);
  }
  if (head.status === 'in_progress' && !head.outcome && head.plan) {
    for await (const range of readPlan(world, head.plan)) {
      const left = Array.from({ length: range.lines }, (_, index) => range.firstLine + index);
      const record = await world.shards.get(head.batchId, range.shard);
      const done = record?.completed === 1 ? [1] : [];
      const lines = left.filter((line) => !done.includes(line));
      if (!record?.sealed && lines.length > 0) await commitSegments(world, head, range, [lines]);
    }
  }
  await finalizeBatch(deps, { ...runOf(head), settled: true }, PLENTY);
}

async function everything(ref: BatchHead) {
  const head = await headOf(world, ref);
  const detail = await world.batches.getDetail(ref.batchId);
  const output = await readText(world, head.outputFile?.key);
  const errors = await readText(world, head.errorsFile?.key);
  return { head, detail, output, errors };
}

type Step = {
  prepare(): Promise<BatchHead>;
  run(deps: Deps, head: BatchHead): Promise<unknown>;
  sources?: InputSource;
};
const STEPS: Record<string, Step> = {
  'a Fetch that copies': {
    prepare: () => createTestBatch(world, { inputFileUrl: 'https://files.test/a.jsonl' }),
    run: (deps, head) => fetchInput(deps, runOf(head), PLENTY),
  },
  'a Fetch that is refused': {
    prepare: () => createTestBatch(world, { inputFileUrl: 'https://files.test/a.jsonl' }),
    run: (deps, head) => fetchInput(deps, runOf(head), PLENTY),
    sources: refusing,
  },
  'a Validate': { prepare: () => fetched(), run: (deps, head) => validateInput(deps, runOf(head), PLENTY) },
  'a Validate that finds a bad line': {
    prepare: () => fetched(`${INPUT}\n[]`),
    run: (deps, head) => validateInput(deps, runOf(head), PLENTY),
  },
  'a Plan': { prepare: running, run: (deps, head) => planShards(deps, { ...runOf(head), round: 0 }) },
  'a Finalize after the deadline': {
    async prepare() {
      const head = await running();
      await world.controls.stop(head.batchId, 'expired');
      return head;
    },
    run: (deps, head) => finalizeBatch(deps, { ...runOf(head), settled: true }, PLENTY),
  },
  'a Fail that gives up': {
    prepare: running,
    run: (deps, head) => failBatch(deps, { ...runOf(head), error: { Error: 'FileMissing' } }),
  },
  'a check that gives up': {
    async prepare() {
      const head = await running();
      world.workflow.executions.set(`${head.batchId}-1`, 'failed');
      await world.batches.setDue(head, 1);
      return head;
    },
    run: (deps) => checkBatches(deps),
  },
};
const FROZEN = ['batches', 'controls', 'shards', 'files', 'workflow'] as const;

describe.each(Object.entries(STEPS))('%s', (_name, { prepare, run, sources }) => {
  test.each(['next', 'same'] as const)(
    'that wakes up after the %s attempt ended its batch changes nothing',
    async (by) => {
      for (let calls = 0; ; calls++) {
        const head = await prepare();
        const { deps, reached, thaw } = frozenPorts<Deps>(depsOn(sources), FROZEN, calls);
        const zombie = run(deps, head).then(
          () => 'through',
          () => 'through',
        );
        if ((await Promise.race([reached, zombie])) === 'through') {
          expect(calls).toBeGreaterThan(2);
          break;
        }
        await endedByOthers(head, by);
        const before = await everything(head);
        expect(before.head.status).toMatch(/^(completed|failed|expired|cancelled)$/);
        thaw();
        await zombie;
        expect({ calls, ...(await everything(head)) }).toEqual({ calls, ...before });
      }
    },
  );
});

describe.each(Object.entries(STEPS))('%s', (_name, { prepare, run, sources }) => {
  test('that is run twice at once, and once more, does what it does once', async () => {
    const head = await prepare();
    const deps = depsOn(sources);
    await Promise.allSettled([run(deps, head), run(deps, head)]);
    const { detail, head: after } = await everything(head);
    await run(deps, head).catch(() => undefined);
    const again = await everything(head);
    expect(again.detail).toEqual(detail);
    expect([again.head.status, again.head.outcome, again.head.plan, again.head.attempt]).toEqual([
      ...[after.status, after.outcome, after.plan, after.attempt],
    ]);
    await endedByOthers(head, 'next');
    const { head: ended, output, errors, detail: end } = await everything(head);
    expect(ended.status).toMatch(/^(completed|failed|expired)$/);
    // Each line of a batch that was run is in one file, once.
    const written = [...output.split('\n'), ...errors.split('\n')].filter(Boolean);
    expect(new Set(written).size).toBe(written.length);
    expect(end?.receipt?.lines).toBe(written.length);
    if (ended.plan && ended.plan.shards > 0) expect(written).toHaveLength(LINES);
  });
});

test('a Notify that wakes up after another has been delivered or has given up changes nothing', async () => {
  for (const delivery of [
    { attempts: 2, lastStatus: 200 },
    { attempts: 9, lastStatus: 410, gaveUpAt: 5 },
  ]) {
    for (let calls = 0; ; calls++) {
      const head = await createTestBatch(world, { status: 'completed', notification: 1 });
      const { projectId, batchId } = head;
      const { deps, reached, thaw } = frozenPorts<Deps>(depsOn(), ['batches', 'receivers', 'webhookSecrets'], calls);
      const zombie = notifyReceiver(deps, { version: 1, projectId, batchId, notification: 1 }).then(() => 'through');
      if ((await Promise.race([reached, zombie])) === 'through') break;
      await world.batches.setDelivery(head, delivery, delivery.gaveUpAt === undefined ? 5 : undefined, 5);
      const before = await everything(head);
      thaw();
      await zombie;
      expect({ calls, ...(await everything(head)) }).toEqual({ calls, ...before });
    }
  }
});
