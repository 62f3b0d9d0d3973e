import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemIds } from '../../shared/adapters/system/ids.ts';
import type { CreateBatchBody } from '../../shared/contract/batchRequests.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { createBatch } from '../../shared/usecases/createBatch.ts';
import type { MadeBatch } from '../../shared/usecases/makeBatch.ts';
import { retryBatch } from '../../shared/usecases/retryBatch.ts';
import { type BatchWorld, createTestBatch, startBatchWorld } from '../support/batchWorld.ts';
import { dyingPorts, ProcessDied } from '../support/dyingPorts.ts';
import { startDynalite, type TestTable } from '../support/dynalite.ts';
import { frozenPorts } from '../support/frozenPorts.ts';
import { tablePortsOn } from '../support/tablePorts.ts';

/**
 * A create, or a retry, that comes again under its key: after a death at each of its requests to table, bucket and
 * Step Functions, and beside a twin of it in each interleaving of the two. On the real stores.
 */
let world: BatchWorld;
let table: TestTable;
beforeAll(async () => {
  world = await startBatchWorld();
  table = await startDynalite();
});
afterAll(async () => {
  await world.close();
  await table.close();
});

const HOUR = 3_600_000;
/** What a process asks of the world, request by request. */
const OUTSIDE = ['client', 'files', 'workflow'] as const;
const body: CreateBatchBody = {
  name: 'Product descriptions',
  type: 'COMPLETIONS',
  input_file_url: 'https://example.com/in.jsonl',
  callback_url: 'https://example.com/hook',
  description: 'Spring range',
  completion_window: '2h',
  metadata: { team: 'web' },
  on_invalid_line: 'skip',
};

let projects = 0;
/** A project of its own, with its limit, its clock and executions kept by name; and what stands of it afterwards. */
function newProject({ openBatches = 100 } = {}) {
  const projectId = `repeats-${projects++}`;
  const caller = { projectId, role: 'owner' as const };
  const clock = { ...world.clock, now: () => clock.time, time: world.clock.now() };
  const settings = { ...world.settings, quotas: { ...world.settings.quotas, openBatches } };
  const outside = { client: table.client, files: world.files, workflow: world.workflow };
  const depsOn = ({ client, ...rest }: typeof outside) => {
    const ports = tablePortsOn({ ...table, client });
    return { ...ports, ...rest, clock, settings, log: world.log, ids: systemIds };
  };
  const ports = tablePortsOn(table);
  const heads = async () => (await ports.batches.list({ projectId, take: 100, order: 'asc' })).batches;
  return {
    caller,
    clock,
    deps: depsOn(outside),
    /** Of a process that dies, or stands still, after so many requests. */
    dying(requests: number) {
      const { deps, made } = dyingPorts(outside, OUTSIDE, requests);
      return { deps: depsOn(deps), made };
    },
    frozen(requests: number, life = Number.POSITIVE_INFINITY) {
      const mortal = dyingPorts(outside, OUTSIDE, life).deps;
      const { deps, ...rest } = frozenPorts(mortal, OUTSIDE, requests);
      return { deps: depsOn(deps), ...rest };
    },
    heads,
    /** How many places are taken: no more than so many can be. */
    places: async () => {
      for (let limit = 1; ; limit++) {
        const probe = { projectId, batchId: `batch_${systemIds.ulid()}` };
        if ((await ports.openBatches.take(probe, limit, clock.now())) === 'full') continue;
        await ports.openBatches.give(probe);
        return limit - 1;
      }
    },
    /** An upload that is there for an hour. */
    async upload() {
      const fileId = `file_${systemIds.ulid()}`;
      const now = clock.now();
      const of = { projectId, fileId, key: objectKeys.upload(projectId, fileId), bytes: 1 };
      await ports.uploads.put({ ...of, createdAt: now, expiresAt: now + HOUR });
      return `file://${fileId}`;
    },
  };
}
type Project = ReturnType<typeof newProject>;
type Deps = Project['deps'];

/** Prepares a project, and says what is asked of it, again and again, under one key. */
const KINDS: Record<string, (project: Project) => Promise<(deps: Deps) => Promise<MadeBatch>>> = {
  'a create': async ({ caller }) => {
    return (deps) => createBatch(deps, caller, { body, idempotencyKey: 'k' });
  },
  'a create from an upload': async (project) => {
    const asked = { ...body, input_file_url: await project.upload() };
    return (deps) => createBatch(deps, project.caller, { body: asked, idempotencyKey: 'k' });
  },
  'a retry': async (project) => {
    const first = await ended(project);
    return (deps) => retryBatch(deps, project.caller, first.batchId, { body: { merge: true }, idempotencyKey: 'k' });
  },
};

async function ended({ caller, deps, clock }: Project): Promise<BatchHead> {
  const ref = { projectId: caller.projectId, batchId: `batch_${systemIds.ulid()}` };
  const input = await deps.files.put(objectKeys.input(ref, 1), 'input');
  const now = clock.now();
  return createTestBatch(
    { ...world, ...deps, clock },
    {
      ...ref,
      status: 'completed',
      enteredAt: { validating: now, completed: now },
      completionWindow: '2h',
      input: { key: objectKeys.input(ref, 1), bytes: 5, etag: input.etag },
      requestCounts: { total: 2, completed: 1, failed: 1 },
      outputFile: { key: objectKeys.output(ref, 1), bytes: 10 },
      errorsFile: { key: objectKeys.errors(ref, 1), bytes: 10 },
      lineIndex: { key: objectKeys.lineIndex(ref, 1), bytes: 3 },
      filesExpireAt: now + 30 * 24 * HOUR,
    },
  );
}

/** One batch, whole and consistent, started once, in one place. */
async function expectOne(project: Project, answers: MadeBatch[], before: readonly string[]): Promise<BatchHead> {
  const { deps } = project;
  const made = (await project.heads()).filter(({ batchId }) => !before.includes(batchId));
  expect(made).toHaveLength(1);
  const [head] = made as [BatchHead];
  for (const answer of answers) {
    expect(answer.head.batchId).toBe(head.batchId);
    expect(answer.head).toEqual(head);
  }
  expect(await deps.controls.get(head.batchId)).toEqual({ action: 'run', deadline: head.expiresAt });
  expect(await deps.batches.getDetail(head.batchId)).toMatchObject({ batchId: head.batchId, errors: [] });
  expect(world.workflow.executions.get(`${head.batchId}-1`)).toBe('running');
  expect(await project.places()).toBe(1);
  return head;
}
const idsOf = async (project: Project) => (await project.heads()).map(({ batchId }) => batchId);

/** How many requests it makes from beginning to end. */
async function requestsOf(kind: string, isNew = false): Promise<number> {
  const project = newProject();
  const ask = await prepared(kind, project, isNew);
  const counting = project.dying(Number.POSITIVE_INFINITY);
  await ask(counting.deps);
  return counting.made();
}
async function prepared(kind: string, project: Project, isNew = false) {
  const prepare = KINDS[kind];
  if (!prepare) throw new Error(`There is no kind ${kind}`);
  // A project that had a batch before has its record of places: three requests fewer to stand still at.
  if (!isNew) await project.places();
  return prepare(project);
}

describe.each(Object.keys(KINDS))('%s whose process died', (kind) => {
  test('at any of its requests is made by its repeat, once', async () => {
    const requests = await requestsOf(kind, true);
    expect(requests).toBeGreaterThan(9);
    for (let survived = 0; survived < requests; survived++) {
      const project = newProject();
      const ask = await prepared(kind, project, true);
      const before = await idsOf(project);
      const dying = project.dying(survived);
      await ask(dying.deps).catch((error: unknown) => expect(error).toBeInstanceOf(ProcessDied));
      // The client waits for 30 s, and tries again. What died without a batch and without a key keeps its place till later.
      project.clock.time += 30_000;
      const repeat = await ask(project.deps);
      project.clock.time += 120_000;
      const head = await expectOne(project, [repeat], before);
      const again = await ask(project.deps);
      expect(again).toMatchObject({ created: false, head: { batchId: head.batchId } });
      expect(await project.places()).toBe(1);
    }
  });

  test('while the project was filling up gets its batch if its key was taken, and a 429 if not', async () => {
    const requests = await requestsOf(kind);
    const outcomes = new Set<string>();
    for (let survived = 0; survived < requests; survived++) {
      const project = newProject({ openBatches: 1 });
      const { deps, caller, clock } = project;
      const ask = await prepared(kind, project);
      const before = await idsOf(project);
      await ask(project.dying(survived).deps).catch(() => undefined);
      const promised = await deps.idempotency.find(caller.projectId, 'k', clock.now());
      // Long enough for a place without a batch to be given to another.
      clock.time += 10 * 60_000;
      const other = { body: { ...body, name: 'another' }, idempotencyKey: undefined };
      const last = await createBatch(deps, caller, other).catch((error: unknown) => error);
      const repeat = await ask(deps).catch((error: unknown) => error);
      if (promised === undefined) {
        expect(last).toMatchObject({ created: true });
        expect(repeat).toMatchObject({ error: 'rate_limit_exceeded', headers: { 'Retry-After': '60' } });
        expect(await deps.idempotency.find(caller.projectId, 'k', clock.now())).toBeUndefined();
        outcomes.add('refused');
        continue;
      }
      expect(repeat).toMatchObject({ head: { batchId: promised.batchId } });
      const ids = (await idsOf(project)).filter((id) => !before.includes(id));
      expect(ids).toContain(promised.batchId);
      expect(ids).toHaveLength((last as { created?: boolean }).created ? 2 : 1);
      // Beyond the limit or not, each counts.
      expect(await project.places()).toBe(ids.length);
      outcomes.add((last as { created?: boolean }).created ? 'made beyond the limit' : 'made');
    }
    expect([...outcomes].sort()).toEqual(['made', 'made beyond the limit', 'refused']);
  });
});

describe.each(Object.keys(KINDS))('%s beside a twin of it', (kind) => {
  test('is one batch, wherever the first stands still while the second runs from beginning to end', async () => {
    const requests = await requestsOf(kind);
    for (let at = 0; at < requests; at++) {
      const project = newProject();
      const ask = await prepared(kind, project);
      const before = await idsOf(project);
      const first = project.frozen(at);
      const late = ask(first.deps);
      await first.reached;
      project.clock.time += 20_000;
      const second = await ask(project.deps);
      first.thaw();
      await expectOne(project, [second, await late], before);
    }
  });

  test('at the last place is one batch for both', async () => {
    const requests = await requestsOf(kind);
    for (let at = 0; at < requests; at++) {
      const project = newProject({ openBatches: 1 });
      const ask = await prepared(kind, project);
      const before = await idsOf(project);
      const first = project.frozen(at);
      const late = ask(first.deps);
      await first.reached;
      const second = await ask(project.deps).catch((error: unknown) => error);
      const key = await project.deps.idempotency.find(project.caller.projectId, 'k', project.clock.now());
      first.thaw();
      await expectOne(project, [await late, await ask(project.deps)], before);
      // While the place is taken, and the key not yet, it cannot be known as a repeat. It uses up no key.
      if (second instanceof Error) expect(second).toMatchObject({ error: 'rate_limit_exceeded' });
      expect(key === undefined).toBe(second instanceof Error);
    }
  });
});

describe('a create', () => {
  test('beside a twin is one batch, wherever the second stops as well', async () => {
    const requests = await requestsOf('a create');
    for (let one = 1; one < requests; one++)
      for (let other = 1; other < requests; other++) {
        const project = newProject();
        const ask = await prepared('a create', project);
        const before = await idsOf(project);
        const first = project.frozen(one);
        const early = ask(first.deps);
        await first.reached;
        project.clock.time += 5_000;
        const second = project.frozen(other);
        const late = ask(second.deps);
        // It may have found the first's batch, and be through before that call.
        await Promise.race([second.reached, late]);
        first.thaw();
        const answers = [await early];
        second.thaw();
        answers.push(await late);
        await expectOne(project, answers, before);
      }
  });
});

/** Where the try before it died, where it stands still itself, and after how many more requests it dies, if it does. */
describe('a try that comes late', () => {
  test.each([
    ['', Number.POSITIVE_INFINITY],
    [', and dies after its next request', 1],
  ])('changes nothing of the batch that its repeat has made, which is at work by then%s', async (_, more) => {
    const requests = await requestsOf('a create');
    // Before that the key is not taken yet: nothing is left of it.
    for (let died = requests - 4; died < requests; died++)
      for (let at = 0; at < requests; at++) {
        const project = newProject();
        const { deps, caller, clock } = project;
        const ask = await prepared('a create', project);
        await ask(project.dying(died).deps).catch(() => undefined);
        clock.time += 20_000;
        const first = project.frozen(at, at + more);
        const late = ask(first.deps).catch((error: unknown) => error);
        // It may find the batch, and be through before that request.
        await Promise.race([first.reached, late]);
        clock.time += 20_000;
        const { head } = await ask(deps);
        const error = { code: 'model_error', line: 1, message: 'No.', param: null };
        await deps.batches.addErrors(head.batchId, [error]);
        expect((await deps.batches.move(head, 'in_progress', { now: clock.now() })).result).toBe('moved');
        first.thaw();
        const answer = await late;
        if (!(answer instanceof ProcessDied)) expect(answer).toMatchObject({ head: { batchId: head.batchId } });
        const ref = { projectId: caller.projectId, batchId: head.batchId };
        expect(await deps.batches.get(ref)).toMatchObject({ status: 'in_progress', expiresAt: head.expiresAt });
        expect((await deps.batches.getDetail(head.batchId))?.errors).toEqual([error]);
        expect(await deps.controls.get(head.batchId)).toEqual({ action: 'run', deadline: head.expiresAt });
      }
  });
});
