import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runShard } from '../../shared/usecases/runShard.ts';
import { chatAnswer, type ModelReply, type ModelRequest, promptOf, startModelServer } from '../support/modelServer.ts';
import {
  aRunningBatch,
  chatLine,
  chatLines,
  committedResults,
  handClock,
  handModel,
  LONG,
  type RunningBatch,
  restless,
  type ShardWorld,
  startShardWorld,
  withFaults,
  workerDeps,
} from '../support/shardWorld.ts';

let world: ShardWorld;
beforeAll(async () => {
  world = await startShardWorld();
});
afterAll(() => world.close());

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function modelServer(reply: (request: ModelRequest) => ModelReply) {
  const server = await startModelServer(reply);
  closers.push(server.close);
  return server;
}

const ok = (text: string): ModelReply => ({ status: 200, body: chatAnswer(text) });
const fault = (
  status: number,
  headers: Record<string, string> = {},
  error: unknown = { message: 'no' },
): ModelReply => ({
  status,
  body: JSON.stringify({ error }),
  headers,
});

async function expectEachLineOnce(batch: RunningBatch, lines: number) {
  const found = await committedResults(world, batch.ref);
  expect(found.results.map((result) => result.line)).toEqual(Array.from({ length: lines }, (_, index) => index + 1));
  return found;
}

/** Lines that are answered beside those that a test is about. */
const OTHERS = 300;

describe('running a shard', () => {
  it('ends every line once, with counts and usage, against the simulator', async () => {
    const batch = await aRunningBatch(world, chatLines(300));
    const rates = { bad_request: 0.1, rate_limited: 0.1, server_error: 0.05 };
    const deps = workerDeps(world, { simulator: { error_rates: rates }, worker: { commitLines: 50 } });
    const answer = await runShard(deps, batch.step(), LONG);
    expect(answer).toMatchObject({ next: 'end', turn: 1, waitSeconds: 0 });

    const { results, records } = await expectEachLineOnce(batch, 300);
    const failed = results.filter((result) => result.file === 'e');
    expect(failed.length).toBeGreaterThan(5);
    expect(new Set(failed.map(({ json }) => (json.error as { code: string }).code))).toEqual(new Set(['model_error']));
    expect(results[0]?.json).toMatchObject({ id: `${batch.ref.batchId}_request-1`, custom_id: 'request-1' });
    expect(records[0]).toMatchObject({
      completed: 300 - failed.length,
      failed: failed.length,
      deaths: 0,
      attempts: {},
    });
    const head = await world.batches.get(batch.ref);
    expect(head?.requestCounts).toMatchObject({ completed: 300 - failed.length, failed: failed.length });
    expect(head?.usage).toEqual(records[0]?.usage);
    expect(head?.usage?.inputTokens).toBeGreaterThan(300);
  });

  it('gives each failure its code, its attempts and the last answer, and one idempotency key over all tries', async () => {
    const prompts = [
      'good',
      '400',
      '500',
      '500-once',
      '429-twice',
      'no-json',
      'inside',
      '404',
      'lost-model',
      'huge',
      '302',
    ];
    const server = await modelServer((request) => {
      const prompt = promptOf(request);
      const { attempt } = request;
      if (prompt === '400') return fault(400);
      if (prompt === '500' || (prompt === '500-once' && attempt === 1)) return fault(500);
      if (prompt === '429-twice' && attempt <= 2) return fault(429);
      if (prompt === 'no-json') return { status: 200, body: '<html>hi</html>' };
      if (prompt === 'inside') return fault(200);
      if (prompt === '404') return fault(404);
      if (prompt === 'lost-model') return fault(404, {}, { code: 'model_not_found', message: 'x' });
      if (prompt === 'huge') return ok('x'.repeat(11 * 1024 * 1024));
      if (prompt === '302') return fault(302, { location: '/' });
      return { ...ok(`answer to ${prompt}`), afterMs: prompts.includes(prompt) ? 0 : 5 };
    });
    const lines = prompts.map((prompt) => chatLine(prompt, prompt === 'lost-model' ? { model: 'other' } : {}));
    // A fault is its line's own only where others are served after it: these are.
    const batch = await aRunningBatch(world, [...lines, ...chatLines(OTHERS)]);
    const worker = { inFlightStart: 4, inFlightMax: 4 };
    await runShard(workerDeps(world, { baseUrl: server.baseUrl, worker }), batch.step(), LONG);

    const { results } = await expectEachLineOnce(batch, prompts.length + OTHERS);
    const byId = new Map(results.map(({ json }) => [json.custom_id, json]));
    const error = (code: string, attempts: number, status?: number) => ({
      error: { code },
      attempts,
      response: status === undefined ? null : { status_code: status },
    });
    expect(byId.get('good')).toMatchObject({ response: { status_code: 200, body: { object: 'chat.completion' } } });
    expect(byId.get('500-once')).not.toHaveProperty('error');
    expect(byId.get('429-twice')).not.toHaveProperty('error');
    expect(byId.get('400')).toMatchObject({ line: 2, ...error('model_error', 1, 400) });
    expect(byId.get('500')).toMatchObject(error('model_unavailable', 5, 500));
    expect(byId.get('no-json')).toMatchObject(error('invalid_response', 3, 200));
    expect(byId.get('inside')).toMatchObject(error('invalid_response', 3, 200));
    expect(byId.get('404')).toMatchObject(error('model_error', 1, 404));
    expect(byId.get('lost-model')).toMatchObject(error('model_not_found', 1, 404));
    expect(byId.get('huge')).toMatchObject(error('response_too_large', 1));
    expect(byId.get('302')).toMatchObject(error('model_error', 1, 302));

    const keys = new Map<string, Set<string>>();
    for (const request of server.requests) {
      const prompt = promptOf(request);
      keys.set(prompt, (keys.get(prompt) ?? new Set()).add(request.idempotencyKey));
    }
    expect([...keys.values()].every((used) => used.size === 1)).toBe(true);
    expect(new Set([...keys.values()].map((used) => [...used][0])).size).toBe(prompts.length + OTHERS);
    // Faults between which nothing was begun and served count as one.
    expect(server.requests.filter((request) => promptOf(request) === '500').length).toBeGreaterThanOrEqual(5);
  });

  it('fails the lines of a model that refuses the credentials without calling for each, and runs the others', async () => {
    const server = await modelServer((request) => (request.body.model === 'model-1' ? fault(401) : ok('fine')));
    const lines = chatLines(200).map((line, index) => (index % 2 ? chatLine(`o-${index}`, { model: 'other' }) : line));
    const batch = await aRunningBatch(world, lines);
    await runShard(workerDeps(world, { baseUrl: server.baseUrl, worker: { inFlightMax: 8 } }), batch.step(), LONG);
    const { results } = await expectEachLineOnce(batch, 200);
    expect(results.filter(({ file }) => file === 'o')).toHaveLength(100);
    const codes = results.filter(({ file }) => file === 'e').map(({ json }) => (json.error as { code: string }).code);
    expect(new Set(codes)).toEqual(new Set(['model_unauthorized']));
    expect(server.requests.filter((request) => request.body.model === 'model-1').length).toBeLessThanOrEqual(8);
  });

  it('keeps the last answer of a line that waited for another try when its model is refused', async () => {
    const model = handModel();
    const batch = await aRunningBatch(world, chatLines(2));
    const worker = { inFlightStart: 2, inFlightMax: 2, retryBaseMs: 10_000, retryMaxMs: 10_000 };
    const time = handClock();
    const deps = {
      ...workerDeps(world, { provider: model.provider, clock: time.clock, worker }),
      random: { next: () => 0.9 },
    };
    const running = runShard(deps, batch.step(), LONG);
    await model.arrived(2);
    model.open[0]?.fail(500);
    await new Promise(setImmediate);
    model.open[1]?.fail(401);
    await new Promise(setImmediate);
    time.advance(10_000);
    await running;
    const { results } = await expectEachLineOnce(batch, 2);
    expect(results[0]?.json).toMatchObject({
      response: { status_code: 500, body: { error: { message: 'by hand' } } },
      error: { code: 'model_unauthorized' },
      // Nothing that began after its fault was served.
      attempts: 0,
    });
  });

  it('gives a line its last answer, however large, where the window ends before its next try', async () => {
    const model = handModel();
    const time = handClock();
    const batch = await aRunningBatch(world, chatLines(2), { deadline: time.clock.now() + 15_000 });
    const worker = { inFlightStart: 2, inFlightMax: 2, retryBaseMs: 10_000, retryMaxMs: 10_000 };
    const deps = {
      ...workerDeps(world, { provider: model.provider, clock: time.clock, worker }),
      random: { next: () => 0.9 },
    };
    const running = runShard(deps, batch.step(), LONG);
    await model.arrived(2);
    const large = 'x'.repeat(9 * 1024 * 1024);
    for (const call of model.open) call.fail(500, large);
    await new Promise(setImmediate);
    // Both are due again at 9 s; the second try of the first one fails without an answer.
    time.advance(9_500);
    await model.arrived(4);
    const second = (prompt: string) => model.open.slice(2).find((call) => call.prompt === prompt);
    second('request-1')?.drop();
    second('request-2')?.fail(503, 'the newest');
    await new Promise(setImmediate);
    time.advance(6_000);
    await running;
    const { results } = await expectEachLineOnce(batch, 2);
    expect(results.map(({ json }) => json.response)).toEqual([
      { status_code: 500, body: { error: { message: large } } },
      { status_code: 503, body: { error: { message: 'the newest' } } },
    ]);
  });

  it('gets through a shard whose only model refuses the credentials without a moment passing', async () => {
    const server = await modelServer(() => fault(401));
    const batch = await aRunningBatch(world, chatLines(500));
    const deps = workerDeps(world, { baseUrl: server.baseUrl, clock: handClock().clock, worker: { inFlightMax: 8 } });
    expect(await runShard(deps, batch.step(), LONG)).toMatchObject({ next: 'end' });
    await expectEachLineOnce(batch, 500);
    expect(deps.log.lines.at(-1)?.fields).toMatchObject({
      end: 'done',
      failures: { unauthorized: expect.any(Number) },
    });
  });

  it('answers lines that need no model, and names what the models of today no longer know', async () => {
    const kept = { id: 'a', values: [1, 0.5], metadata: {} };
    const lines = [
      JSON.stringify({ custom_id: 'kept', method: 'POST', url: '/vectors', body: { vectors: [kept] } }),
      JSON.stringify({ custom_id: 'gone', method: 'POST', url: '/v1/embeddings', body: { model: 'old', input: 'x' } }),
    ];
    const batch = await aRunningBatch(world, lines, { type: 'EMBEDDINGS' });
    await runShard(workerDeps(world), batch.step(), LONG);
    const { results } = await expectEachLineOnce(batch, 2);
    expect(results[0]).toMatchObject({ file: 'o', json: { response: { body: { data: { vectors: [kept] } } } } });
    expect(results[1]).toMatchObject({ file: 'e', json: { error: { code: 'model_not_found' }, attempts: 0 } });
  });

  it('sends numbers to a model, and leaves those of vectors, as they were written', async () => {
    const data = [{ index: 0, embedding: [0.5] }];
    const server = await modelServer(() => ({ status: 200, body: JSON.stringify({ data }) }));
    const vectors = (items: string) => `"url":"/vectors","body":{"vectors":[${items}]}}`;
    const filled = '{"id":"b","values":[1.10,-0],"metadata":{"n":12345678901234567890}}';
    const toEmbed = '{"id":"a","values":[],"metadata":{"text":"x","at":1e5}}';
    const numbers = '"seed":12345678901234567890,"t":1.10,"neg":-0';
    const lines = [
      `{"custom_id":"1","method":"POST","url":"/v1/embeddings","body":{"model":"default","input":"x",${numbers}}}`,
      `{"custom_id":"2","method":"POST",${vectors(`${toEmbed},${filled}`)}`,
      `{"custom_id":"3","method":"POST",${vectors(filled)}`,
    ];
    const batch = await aRunningBatch(world, lines, { type: 'EMBEDDINGS' });
    await runShard(workerDeps(world, { baseUrl: server.baseUrl }), batch.step(), LONG);
    const { segments } = await expectEachLineOnce(batch, 3);
    const sent = server.requests.map(({ text }) => text).sort();
    expect(sent).toEqual(
      [
        '{"model":"model-1","input":"x","seed":12345678901234567890,"t":1.10,"neg":-0}',
        '{"input":["x"],"model":"model-1"}',
      ].sort(),
    );
    const parts = segments.map(async ({ key }) =>
      Buffer.from((await world.files.readSmall(key, 1e6)) ?? []).toString(),
    );
    const [, second, third] = (await Promise.all(parts)).join('').split('\n');
    expect(second).toContain(`"vectors":[{"id":"a","values":[0.5],"metadata":{"text":"x","at":1e5}},${filled}]`);
    expect(third).toContain(`"vectors":[${filled}]`);
  });

  it('lets a line in a back-off hold no place in flight', async () => {
    const model = handModel();
    const batch = await aRunningBatch(world, chatLines(3));
    const time = handClock();
    const worker = { inFlightStart: 1, inFlightMax: 1, retryBaseMs: 10_000, retryMaxMs: 10_000 };
    const deps = {
      ...workerDeps(world, { provider: model.provider, clock: time.clock, worker }),
      random: { next: () => 0.5 },
    };
    const running = runShard(deps, batch.step(), LONG);
    await model.arrived(1);
    model.open[0]?.fail(500);
    await model.arrived(2);
    expect(model.open[1]?.prompt).toBe('request-2');
    model.open[1]?.answer('two');
    await model.arrived(3);
    model.open[2]?.answer('three');
    while ((await committedResults(world, batch.ref)).results.length < 2) time.advance(1_000);
    await model.arrived(4);
    expect(model.open[3]?.prompt).toBe('request-1');
    expect(model.open[3]?.call.idempotencyKey).toBe(model.open[0]?.call.idempotencyKey);
    model.open[3]?.answer('one');
    await running;
    await expectEachLineOnce(batch, 3);
  });

  it('takes a line of ten megabytes', async () => {
    const server = await modelServer((request) => ok(`${promptOf(request).length}`));
    const text = 'ä'.repeat(4_900_000);
    const batch = await aRunningBatch(world, [chatLine('small'), chatLine(text, { id: 'large' }), chatLine('last')]);
    await runShard(workerDeps(world, { baseUrl: server.baseUrl }), batch.step(), LONG);
    const { results } = await expectEachLineOnce(batch, 3);
    expect(JSON.stringify(results[1]?.json)).toContain(' 4900000"');
  });

  it('folds the list of its parts into manifests, and loses none', async () => {
    const batch = await aRunningBatch(world, chatLines(36));
    // Two deaths make the worker commit line by line.
    for (let death = 0; death < 2; death++) await world.shards.claim(batch.ref.batchId, batch.step().shard);
    await runShard(workerDeps(world), batch.step(), LONG);
    const { records, manifests, segments } = await expectEachLineOnce(batch, 36);
    expect(segments).toHaveLength(36);
    expect(manifests).toHaveLength(1);
    expect(records[0]?.segments).toHaveLength(3);
  });
});

describe('the end of a turn', () => {
  it('hands over when the time is short, and the next turn goes on from the bitmap', async () => {
    const batch = await aRunningBatch(world, chatLines(120));
    let calls = 0;
    const server = await modelServer((request) => {
      calls++;
      return ok(promptOf(request));
    });
    const deps = workerDeps(world, { baseUrl: server.baseUrl, worker: { inFlightStart: 4, inFlightMax: 4 } });
    const short = { remainingMs: () => (calls < 40 ? 60_000 : 20_000) };
    const first = await runShard(deps, batch.step(), short);
    expect(first).toMatchObject({ next: 'again', turn: 1 });
    const { results } = await committedResults(world, batch.ref);
    expect(results.length).toBeGreaterThanOrEqual(40);
    expect(results.length).toBeLessThan(120);

    expect(await runShard(deps, first, LONG)).toMatchObject({ next: 'end', turn: 2 });
    await expectEachLineOnce(batch, 120);
    expect(server.requests).toHaveLength(120);
  });

  it('leaves waiting for Retry-After to Step Functions, without a death or an attempt', async () => {
    const server = await modelServer((request) =>
      promptOf(request) === 'request-1' ? ok('fine') : fault(429, { 'retry-after': '60' }),
    );
    const batch = await aRunningBatch(world, chatLines(2));
    const deps = workerDeps(world, { baseUrl: server.baseUrl });
    const answer = await runShard(deps, batch.step(), LONG);
    expect(answer.next).toBe('wait');
    expect(answer.waitSeconds).toBeGreaterThan(55);
    expect(answer.waitSeconds).toBeLessThanOrEqual(61);
    const { records, results } = await committedResults(world, batch.ref);
    expect(results.map(({ line }) => line)).toEqual([1]);
    expect(records[0]).toMatchObject({ deaths: 0, attempts: {} });
  });

  it('is idle where the model lets nothing through, and not where there is nothing that it could send', async () => {
    const refused = await aRunningBatch(world, chatLines(1));
    const server = await modelServer(() => fault(429, { 'retry-after': '60' }));
    await runShard(workerDeps(world, { baseUrl: server.baseUrl }), refused.step(), LONG);
    expect((await committedResults(world, refused.ref)).records[0]).toMatchObject({ idleTurns: 1 });

    // A plan that does not fit its input: going round over it for the whole window would be no progress.
    const [first = '', last = ''] = chatLines(2);
    const misplanned = await aRunningBatch(world, [first, '', last]);
    const provider = {
      call: async () => ({ kind: 'answered' as const, status: 200, body: Buffer.from(chatAnswer('ok')) }),
    };
    for (let turn = 0; turn < 2; turn++) await runShard(workerDeps(world, { provider }), misplanned.step(), LONG);
    expect((await committedResults(world, misplanned.ref)).records[0]).toMatchObject({ completed: 2, idleTurns: 0 });
  });

  it('keeps the attempts of unfinished lines over turns, with and without a commit', async () => {
    const server = await modelServer(() => fault(409, { 'retry-after': '30' }));
    const batch = await aRunningBatch(world, chatLines(1));
    const deps = workerDeps(world, { baseUrl: server.baseUrl });
    let step = batch.step();
    for (let turn = 1; turn <= 4; turn++) {
      const answer = await runShard(deps, step, LONG);
      expect(answer).toMatchObject({ next: 'wait', turn });
      const { records } = await committedResults(world, batch.ref);
      expect(records[0]).toMatchObject({ deaths: 0, attempts: { 0: turn } });
      step = answer;
    }
    expect(await runShard(deps, step, LONG)).toMatchObject({ next: 'end' });
    const { results } = await expectEachLineOnce(batch, 1);
    expect(results[0]?.json).toMatchObject({ error: { code: 'model_unavailable' }, attempts: 5 });
    expect(new Set(server.requests.map((request) => request.idempotencyKey)).size).toBe(1);
  });

  it('admits nothing after the deadline; what had failed by then says why, what was in flight may end', async () => {
    const model = handModel();
    const time = handClock();
    const batch = await aRunningBatch(world, chatLines(5), { deadline: time.clock.now() + 15_000 });
    const worker = {
      inFlightStart: 3,
      inFlightMax: 3,
      retryBaseMs: 10_000,
      retryMaxMs: 10_000,
      controlEverySeconds: 100,
    };
    const deps = {
      ...workerDeps(world, { provider: model.provider, clock: time.clock, worker }),
      random: { next: () => 0.9 },
    };
    const running = runShard(deps, batch.step(), LONG);
    await model.arrived(3);
    model.open[0]?.fail(500);
    await model.arrived(4);
    time.advance(7_000);
    // The next try would be at 16 s: too late.
    model.open[1]?.fail(429);
    // 1 is due again at 9 s, but the halved window has no place for it, nor for 5, before the window ends.
    time.advance(8_000);
    model.open[2]?.answer('late but paid for');
    model.open[3]?.fail(500);
    expect(await running).toMatchObject({ next: 'end' });
    expect(model.open).toHaveLength(4);
    const { results } = await expectEachLineOnce(batch, 4);
    const codes = results.map(({ json }) => (json.error as { code: string } | undefined)?.code);
    expect(codes).toEqual(['model_unavailable', 'rate_limited', undefined, 'model_unavailable']);
  });

  it('does not take a shard of a batch that is to stop, is over, has a newer attempt or is sealed', async () => {
    const deps = workerDeps(world);
    const expectUntaken = async (batch: RunningBatch, step = batch.step()) => {
      expect(await runShard(deps, step, LONG)).toMatchObject({ next: 'end' });
      expect((await committedResults(world, batch.ref)).records.filter(({ sealed }) => !sealed)).toEqual([]);
    };
    const stopped = await aRunningBatch(world, chatLines(2));
    await world.controls.stop(stopped.ref.batchId, 'cancelled');
    await expectUntaken(stopped);
    await expectUntaken(await aRunningBatch(world, chatLines(2), { deadline: Date.now() - 1 }));
    const superseded = await aRunningBatch(world, chatLines(2));
    await world.batches.takeAttempt(superseded.ref, 1, { idleAttempts: 0, committedAtAttempt: 0 });
    await expectUntaken(superseded);
    const sealed = await aRunningBatch(world, chatLines(2));
    await world.shards.seal(sealed.ref.batchId, sealed.step().shard);
    await expectUntaken(sealed);
  });
});

describe('crashes and doubles', () => {
  it('goes on from the last commit after a crash, repeating only what was not committed', async () => {
    const server = await modelServer((request) => ok(promptOf(request)));
    const batch = await aRunningBatch(world, chatLines(60));
    const worker = { commitLines: 10, inFlightStart: 2, inFlightMax: 2 };
    const deps = workerDeps(world, { baseUrl: server.baseUrl, worker, clock: restless });
    let commits = 0;
    const crashing = withFaults(world.shards, {
      commit: async (batchId, commit) => {
        if (++commits > 2) throw new Error('the table is gone');
        return world.shards.commit(batchId, commit);
      },
    });
    await expect(runShard({ ...deps, shards: crashing }, batch.step(), LONG)).rejects.toThrow('the table is gone');
    const { results, records } = await committedResults(world, batch.ref);
    expect(results.length).toBeGreaterThanOrEqual(20);
    expect(records[0]?.deaths).toBe(0);
    const before = server.requests.length;
    expect(await runShard(deps, batch.step(), LONG)).toMatchObject({ next: 'end' });
    await expectEachLineOnce(batch, 60);
    expect(server.requests.length - before).toBe(60 - results.length);
  });

  it('takes a commit whose answer was lost as done, and adds it once', async () => {
    const batch = await aRunningBatch(world, chatLines(30));
    let first = true;
    const forgetful = withFaults(world.shards, {
      commit: async (batchId, commit) => {
        const outcome = await world.shards.commit(batchId, commit);
        if (!first) return outcome;
        first = false;
        throw new Error('timed out after the write');
      },
    });
    const deps = workerDeps(world, { worker: { commitLines: 10 }, clock: restless });
    expect(await runShard({ ...deps, shards: forgetful }, batch.step(), LONG)).toMatchObject({ next: 'end' });
    const { records } = await expectEachLineOnce(batch, 30);
    expect(records[0]).toMatchObject({ completed: 30, failed: 0 });
  });

  it('tells live counts within two seconds of a commit, though no other follows and though the shard is lost', async () => {
    const time = handClock();
    const model = handModel();
    const batch = await aRunningBatch(world, chatLines(4));
    let commits = 0;
    const shards = withFaults(world.shards, {
      commit: async (batchId, commit) => (++commits === 4 ? 'lost' : world.shards.commit(batchId, commit)),
    });
    const worker = { commitLines: 1, inFlightStart: 4, inFlightMax: 4 };
    const deps = workerDeps(world, { provider: model.provider, worker, clock: time.clock });
    const turn = runShard({ ...deps, shards }, batch.step(), LONG);
    await model.arrived(4);
    const told = async () => (await world.batches.get(batch.ref))?.requestCounts.completed;
    const committed = async () => (await world.shards.get(batch.ref.batchId, 0))?.completed;
    model.open[0]?.answer('one');
    await expect.poll(told).toBe(1);
    model.open[1]?.answer('two');
    await expect.poll(committed).toBe(2);
    expect(await told()).toBe(1);
    time.advance(2_000);
    await expect.poll(told).toBe(2);
    model.open[2]?.answer('three');
    await expect.poll(committed).toBe(3);
    model.open[3]?.answer('four');
    expect(await turn).toMatchObject({ next: 'end' });
    expect(await told()).toBe(3);
  });

  /** A worker that commits every two lines, 250 ms apart, all of its calls in flight; `sizes`: lines of each commit so far. */
  const commitsOfCallsInFlight = async (lines: number, { clock }: ReturnType<typeof handClock>) => {
    const model = handModel();
    const batch = await aRunningBatch(world, chatLines(lines), { deadline: clock.now() + 100_000_000 });
    const sizes: number[] = [];
    const shards = withFaults(world.shards, {
      commit: async (batchId, commit) => {
        sizes.push(commit.completed);
        return world.shards.commit(batchId, commit);
      },
    });
    const worker = { commitLines: 2, commitGapMs: 250, inFlightStart: lines, inFlightMax: lines };
    const deps = workerDeps(world, { provider: model.provider, worker, clock });
    const turn = runShard({ ...deps, shards }, batch.step(), LONG);
    await model.arrived(lines);
    const answer = (from: number, to: number) => {
      for (const call of model.open.slice(from, to)) call.answer('ok');
    };
    return { sizes, answer, turn };
  };

  it('waits between commits for the sake of their lines, but not with five times as many, nor at the end', async () => {
    const time = handClock();
    const { sizes, answer, turn } = await commitsOfCallsInFlight(20, time);
    answer(0, 2);
    await expect.poll(() => sizes).toEqual([2]);
    answer(2, 5);
    time.advance(249);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sizes).toEqual([2]);
    time.advance(1);
    await expect.poll(() => sizes).toEqual([2, 3]);
    answer(5, 15);
    await expect.poll(() => sizes).toEqual([2, 3, 10]);
    answer(15, 20);
    expect(await turn).toMatchObject({ next: 'end' });
    expect(sizes).toEqual([2, 3, 10, 5]);
  });

  it('waits for the next commit by the clock as it goes, also where that was set back', async () => {
    const time = handClock(1_000_000_000);
    const { sizes, answer, turn } = await commitsOfCallsInFlight(6, time);
    answer(0, 3);
    await expect.poll(() => sizes).toEqual([3]);
    time.advance(-600_000);
    answer(3, 5);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sizes).toEqual([3]);
    time.advance(250);
    await expect.poll(() => sizes).toEqual([3, 2]);
    answer(5, 6);
    expect(await turn).toMatchObject({ next: 'end' });
  });

  it('shows failed lines on the record while it runs, until that is full', async () => {
    const server = await modelServer(() => fault(400));
    const batch = await aRunningBatch(world, chatLines(260));
    let writes = 0;
    const batches = withFaults(world.batches, {
      addErrors: async (batchId, errors) => {
        writes++;
        return await world.batches.addErrors(batchId, errors);
      },
    });
    const deps = workerDeps(world, { baseUrl: server.baseUrl, worker: { commitLines: 40 } });
    await runShard({ ...deps, batches }, batch.step(), LONG);
    const { records } = await expectEachLineOnce(batch, 260);
    const errors = (await world.batches.getDetail(batch.ref.batchId))?.errors ?? [];
    expect(errors).toHaveLength(100);
    expect(new Set(errors.map(({ line }) => line)).size).toBe(100);
    expect(errors[0]).toEqual({
      code: 'model_error',
      line: expect.any(Number),
      message: 'The model refused the request (HTTP 400).',
      param: null,
    });
    expect(writes).toBeLessThanOrEqual(3);
    expect(records[0]?.commits).toBeGreaterThan(writes);
  });

  it('commits all the same where the record cannot take its failed lines', async () => {
    const server = await modelServer(() => fault(400));
    const batch = await aRunningBatch(world, chatLines(3));
    const batches = withFaults(world.batches, { addErrors: () => Promise.reject(new Error('throttled')) });
    const deps = workerDeps(world, { baseUrl: server.baseUrl });
    expect(await runShard({ ...deps, batches }, batch.step(), LONG)).toMatchObject({ next: 'end' });
    await expectEachLineOnce(batch, 3);
    expect(deps.log.lines.map(({ message }) => message)).toContain('errors not added');
  });

  it('a zombie stops at its next commit, drops its part and calls off its calls; each line ends once', async () => {
    const model = handModel();
    const batch = await aRunningBatch(world, chatLines(40));
    const written: string[] = [];
    const deleted: string[] = [];
    const files = withFaults(world.files, {
      put: (key, body, type) => {
        written.push(key);
        return world.files.put(key, body, type);
      },
      delete: (keys) => {
        deleted.push(...keys);
        return world.files.delete(keys);
      },
    });
    const worker = { inFlightStart: 4, inFlightMax: 4, commitLines: 1 };
    const zombie = runShard({ ...workerDeps(world, { provider: model.provider, worker }), files }, batch.step(), LONG);
    await model.arrived(4);
    expect(await runShard(workerDeps(world), batch.step(), LONG)).toMatchObject({ next: 'end' });
    model.open[0]?.answer('from the grave');
    expect(await zombie).toMatchObject({ next: 'end' });
    expect(deleted).toEqual(written);
    expect(model.calledOff).toBeGreaterThanOrEqual(3);
    const { records } = await expectEachLineOnce(batch, 40);
    expect(records[0]).toMatchObject({ completed: 40, epoch: 2 });
  });

  it('is not stuck by a model that reports more tokens than there can be', async () => {
    const batch = await aRunningBatch(world, chatLines(4));
    const body = JSON.stringify({
      choices: [{ index: 0, message: { role: 'assistant', content: 'fine' } }],
      usage: { prompt_tokens: Number.MAX_SAFE_INTEGER, completion_tokens: Number.MAX_SAFE_INTEGER },
    });
    const provider = { call: async () => ({ kind: 'answered' as const, status: 200, body: Buffer.from(body) }) };
    const deps = workerDeps(world, { provider, worker: { commitLines: 2 } });
    expect(await runShard(deps, batch.step(), LONG)).toMatchObject({ next: 'end' });
    const { records } = await expectEachLineOnce(batch, 4);
    expect(records[0]?.usage).toEqual({ inputTokens: 0, outputTokens: 0 });
  });

  it('leaves the usage open where the model reports none', async () => {
    const batch = await aRunningBatch(world, chatLines(2));
    const body = JSON.stringify({ choices: [{ index: 0, message: { role: 'assistant', content: 'fine' } }] });
    const provider = { call: async () => ({ kind: 'answered' as const, status: 200, body: Buffer.from(body) }) };
    await runShard(workerDeps(world, { provider }), batch.step(), LONG);
    const head = await world.batches.get(batch.ref);
    expect(head?.requestCounts).toMatchObject({ completed: 2 });
    expect(head).not.toHaveProperty('usage');
  });

  it('an input that is not the one that was checked is an error, and no death', async () => {
    const batch = await aRunningBatch(world, chatLines(3));
    await world.files.put(`inputs/${batch.ref.batchId}`, 'something else');
    await expect(runShard(workerDeps(world), batch.step(), LONG)).rejects.toMatchObject({ name: 'FileChanged' });
    expect((await committedResults(world, batch.ref)).records[0]?.deaths).toBe(0);
  });
});
