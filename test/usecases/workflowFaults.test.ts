import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { BatchHead } from '../../shared/domain/batch.ts';
import type { Workflow } from '../../shared/ports.ts';
import { cancelBatch } from '../../shared/usecases/cancelBatch.ts';
import { checkBatches } from '../../shared/usecases/checkBatches.ts';
import { downloadPartial } from '../../shared/usecases/downloadPartial.ts';
import { finalizeBatch } from '../../shared/usecases/finalizeBatch.ts';
import { makeBatch } from '../../shared/usecases/makeBatch.ts';
import { WORKFLOW_PATIENCE_MS } from '../../shared/usecases/settleWithin.ts';
import { snapshotBatch } from '../../shared/usecases/snapshotBatch.ts';
import {
  type BatchWorld,
  createTestBatch,
  headOf,
  type RecordingWorkflow,
  startBatchWorld,
} from '../support/batchWorld.ts';
import { aHead } from '../support/records.ts';
import { commitSegments, layDown } from '../support/runBatch.ts';

let world: BatchWorld;
beforeEach(async () => {
  world = await startBatchWorld();
});
afterEach(async () => {
  vi.useRealTimers();
  await world.close();
});

const OWNER = { projectId: 'project-a', role: 'owner' } as const;
const PLENTY = { remainingMs: () => 900_000 };
const executions = () => Object.fromEntries(world.workflow.executions);
/** Every look of the check until nothing changes any more, one a minute for ten. */
async function checkForTenMinutes(): Promise<void> {
  for (let minute = 0; minute < 10; minute++) {
    world.clock.time += 60_000;
    await checkBatches(world);
  }
}

async function inTheMap(): Promise<BatchHead> {
  const { head, ranges } = await layDown(world, await createTestBatch(world), ['runnable', 'runnable'], 2);
  for (const range of ranges) await commitSegments(world, head, range, [[1, 2]]);
  world.workflow.executions.set(`${head.batchId}-1`, 'running');
  return head;
}

/** The first call of `method` goes wrong; what comes after it is as ever. */
type Fault = 'refused' | 'answer lost' | 'vanishes';
function withFault(method: 'startBatch' | 'startNotification' | 'startSnapshot', fault: Fault): BatchWorld {
  let met = false;
  const workflow = Object.assign(Object.create(world.workflow) as RecordingWorkflow, {
    async [method](...args: Parameters<Workflow['startBatch']>) {
      if (met) return world.workflow[method](...args);
      met = true;
      if (fault === 'refused') throw new Error('ThrottlingException');
      const before = new Set(world.workflow.executions.keys());
      const started = await world.workflow[method](...args);
      if (fault === 'answer lost') throw new Error('TimeoutError');
      for (const name of world.workflow.executions.keys())
        if (!before.has(name)) world.workflow.executions.delete(name);
      return started;
    },
  });
  return { ...world, workflow };
}

describe.each<Fault>(['refused', 'answer lost', 'vanishes'])('where the start of an execution is "%s"', (fault) => {
  test('a batch is made all the same, and has one execution a few minutes later', async () => {
    const deps = { ...withFault('startBatch', fault), idempotency: { find: async () => undefined, begin: never } };
    const { head } = await makeBatch(deps, {
      projectId: 'project-a',
      idempotency: undefined,
      check: async () => undefined,
      records: (batchId, now) => ({
        head: aHead({ projectId: 'project-a', batchId, createdAt: now }),
        detail: { batchId, description: null, metadata: {}, errors: [] },
      }),
    });
    await checkForTenMinutes();
    expect(executions()).toEqual({ [`${head.batchId}-1`]: 'running' });
    expect(await headOf(world, head)).toMatchObject({ attempt: 1, idleAttempts: 0 });
  });

  test('a batch that the check goes on with has one execution more', async () => {
    const head = await inTheMap();
    world.workflow.executions.set(`${head.batchId}-1`, 'failed');
    world.clock.time += 200_000;
    await checkBatches(withFault('startBatch', fault));
    await checkForTenMinutes();
    expect(executions()).toEqual({ [`${head.batchId}-1`]: 'failed', [`${head.batchId}-2`]: 'running' });
  });

  test('a batch ends, and its receiver is told by one execution', async () => {
    const head = await inTheMap();
    const { projectId, batchId } = head;
    const step = { version: 1, projectId, batchId, attempt: 1 } as const;
    expect(await finalizeBatch(withFault('startNotification', fault), step, PLENTY)).toMatchObject({ next: 'end' });
    expect((await headOf(world, head)).status).toBe('completed');
    await checkForTenMinutes();
    expect(executions()).toEqual({ [`${batchId}-1`]: 'running', [`${batchId}-notify-1`]: 'running' });
  });

  test('a partial download comes to its snapshot', async () => {
    const head = await inTheMap();
    expect(await downloadPartial(withFault('startSnapshot', fault), OWNER, head.batchId)).toBe('not_yet');
    world.clock.time += 61_000;
    expect(await downloadPartial(world, OWNER, head.batchId)).toBe('not_yet');
    const running = Object.keys(executions()).filter((name) => name.includes('snapshot'));
    // One that may be running is left alone; else the next number is taken.
    expect(running).toEqual([`${head.batchId}-snapshot-${fault === 'answer lost' ? 1 : 2}`]);
    const snapshot = Number(running[0]?.split('-').at(-1));
    await snapshotBatch(world, { version: 1, projectId: 'project-a', batchId: head.batchId, snapshot }, PLENTY);
    expect(await downloadPartial(world, OWNER, head.batchId)).toMatchObject({ outputFileUrl: expect.any(String) });
  });
});

const never = () => Promise.reject(new Error('not expected here'));

describe('while Step Functions does not answer', () => {
  /** Calls a route whose workflow hangs, and lets the time pass that it waits for. */
  async function whileHanging<T>(call: (deps: BatchWorld) => Promise<T>): Promise<T> {
    const asked = Promise.withResolvers<void>();
    const hang = () => {
      asked.resolve();
      return new Promise<never>(() => undefined);
    };
    const workflow = { ...world.workflow, startBatch: hang, stopBatch: hang, startSnapshot: hang };
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const answer = call({ ...world, workflow });
    await asked.promise;
    vi.advanceTimersByTime(WORKFLOW_PATIENCE_MS);
    vi.useRealTimers();
    return answer;
  }

  test('a cancel is answered as cancelling, and the check carries it out', async () => {
    const head = await inTheMap();
    const answer = await whileHanging((deps) => cancelBatch(deps, OWNER, head.batchId));
    expect(answer.head.status).toBe('cancelling');
    expect(await world.controls.get(head.batchId)).toMatchObject({ action: 'stop', reason: 'cancelled' });
    await checkForTenMinutes();
    expect(executions()).toEqual({ [`${head.batchId}-1`]: 'aborted', [`${head.batchId}-2`]: 'running' });
  });

  test('a create is answered, and the check starts it', async () => {
    const { head } = await whileHanging((deps) =>
      makeBatch(
        { ...deps, idempotency: { find: async () => undefined, begin: never } },
        {
          projectId: 'project-a',
          idempotency: undefined,
          check: async () => undefined,
          records: (batchId, now) => ({
            head: aHead({ projectId: 'project-a', batchId, createdAt: now }),
            detail: { batchId, description: null, metadata: {}, errors: [] },
          }),
        },
      ),
    );
    await checkForTenMinutes();
    expect(executions()).toEqual({ [`${head.batchId}-1`]: 'running' });
  });

  test('a partial download is answered with what there is', async () => {
    const head = await inTheMap();
    expect(await whileHanging((deps) => downloadPartial(deps, OWNER, head.batchId))).toBe('not_yet');
  });
});
