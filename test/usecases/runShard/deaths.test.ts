import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StepInput } from '../../../shared/contract/steps.ts';
import type { ModelCall } from '../../../shared/ports.ts';
import { runShard } from '../../../shared/usecases/runShard.ts';
import { chatAnswer } from '../../support/modelServer.ts';
import {
  aRunningBatch,
  chatLines,
  committedResults,
  type Harness,
  LONG,
  type RunningBatch,
  type ShardWorld,
  startShardWorld,
  workerDeps,
} from '../../support/shardWorld.ts';

let world: ShardWorld;
beforeAll(async () => {
  world = await startShardWorld();
});
afterAll(() => world.close());

/** A worker that can die: from then on nothing that it does reaches anybody. */
function mortal(deps: Harness) {
  const died = Promise.withResolvers<'died'>();
  let dead = false;
  const never = new Promise<never>(() => undefined);
  const ofMortal = <T extends object>(port: T): T =>
    new Proxy(port, {
      get(target, name, receiver) {
        const member: unknown = Reflect.get(target, name, receiver);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => {
          const answer: unknown = dead && name !== 'now' ? never : Reflect.apply(member, target, args);
          return answer instanceof Promise ? answer.then((value) => (dead ? never : value)) : answer;
        };
      },
    });
  const { batches, controls, shards, files, clock } = deps;
  return {
    deps: {
      ...deps,
      batches: ofMortal(batches),
      controls: ofMortal(controls),
      shards: ofMortal(shards),
      files: ofMortal(files),
      clock: ofMortal(clock),
    },
    died: died.promise,
    isDead: () => dead,
    die() {
      dead = true;
      died.resolve('died');
    },
  };
}

const ANSWER_BYTES = 200_000;

/** What happens to the worker while it makes a call. */
type Fate = (call: { prompt: string; inFlight: number; turn: number }) => 'answered' | 'dies';

/** Runs the shard as its machine does: a worker that died is followed by another. Answers how many died. */
async function runToTheEnd(
  batch: RunningBatch,
  fate: Fate,
  options: Parameters<typeof workerDeps>[1] = {},
  answer = 'fine',
) {
  const fullAnswer = Buffer.from(chatAnswer(answer));
  let step: StepInput<'runShard'> = batch.step();
  let deaths = 0;
  const calls: string[] = [];
  for (let turn = 0; ; turn++) {
    let inFlight = 0;
    const provider = {
      call: async ({ body }: ModelCall) => {
        const prompt = (body.messages as { content: string }[])[0]?.content ?? '';
        if (life.isDead()) return new Promise<never>(() => undefined);
        calls.push(prompt);
        inFlight++;
        // All that are sent together are in flight together.
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (fate({ prompt, inFlight, turn }) === 'dies') life.die();
        inFlight--;
        return { kind: 'answered' as const, status: 200, body: fullAnswer };
      },
    };
    const deps = workerDeps(world, { provider, ...options });
    const limits = { ...deps.settings.limits, answerBytes: ANSWER_BYTES };
    const life = mortal({ ...deps, settings: { ...deps.settings, limits } });
    const end = await Promise.race([runShard(life.deps, step, LONG), life.died]);
    if (end === 'died') deaths++;
    else if (end.next === 'end') break;
    else step = end;
    if (turn > 200) throw new Error('It goes round and round');
  }
  const { results, records } = await committedResults(world, batch.ref);
  const failed = results.filter(({ file }) => file === 'e').map(({ json }) => json);
  return { deaths, calls, results, failed, records };
}

const kills = (...numbers: number[]): Fate => {
  const prompts = numbers.map((number) => `request-${number}`);
  return ({ prompt }) => (prompts.includes(prompt) ? 'dies' : 'answered');
};

describe('a line that kills its worker', () => {
  it.each([
    ['in the middle', 40, [25]],
    ['that is the last', 40, [40]],
    ['far behind', 550, [520]],
    ['beside another', 40, [20, 21]],
    ['and another far from it', 120, [5, 110]],
    ['in a shard of its own', 1, [1]],
  ] as const)('ends alone as processing_failed: one %s', async (_, lines, killers) => {
    const batch = await aRunningBatch(world, chatLines(lines));
    const { results, failed, deaths } = await runToTheEnd(batch, kills(...killers));
    expect(results.map(({ line }) => line)).toEqual(Array.from({ length: lines }, (_, index) => index + 1));
    expect(failed).toEqual(
      killers.map((number) =>
        expect.objectContaining({
          custom_id: `request-${number}`,
          response: null,
          attempts: 3,
          error: { code: 'processing_failed', message: expect.any(String) },
        }),
      ),
    );
    expect(deaths).toBeGreaterThanOrEqual(5 * killers.length);
  });

  it('is run alone three times, and its neighbours not again and again', async () => {
    const batch = await aRunningBatch(world, chatLines(30));
    const { calls } = await runToTheEnd(batch, kills(10));
    const times = (number: number) => calls.filter((prompt) => prompt === `request-${number}`).length;
    // Beside others by the first two workers, alone by the next three.
    expect(times(10)).toBe(5);
    for (let number = 1; number < 10; number++) expect(times(number)).toBeLessThanOrEqual(3);
    for (let number = 11; number <= 30; number++) expect(times(number)).toBeLessThanOrEqual(3);
  });
});

describe('an answer that cannot even be looked at', () => {
  it('fails its line, and no other', async () => {
    const batch = await aRunningBatch(world, chatLines(5));
    const broken = { kind: 'answered' as const, status: 200, body: null as unknown as Uint8Array };
    const provider = {
      call: async ({ body }: ModelCall) =>
        (body.messages as { content: string }[])[0]?.content === 'request-3'
          ? broken
          : { ...broken, body: Buffer.from(chatAnswer('fine')) },
    };
    const deps = workerDeps(world, { provider });
    expect(await runShard(deps, batch.step(), LONG)).toMatchObject({ next: 'end' });
    const { results } = await committedResults(world, batch.ref);
    expect(results.map(({ file }) => file)).toEqual(['o', 'o', 'e', 'o', 'o']);
    expect(results[2]?.json).toMatchObject({ error: { code: 'invalid_response' } });
    expect(deps.log.lines.map(({ message }) => message)).toContain('answer not read');
  });
});

describe('deaths that no line is to blame for', () => {
  it('slow down the next worker for no more lines than the dead one can have died of', async () => {
    const batch = await aRunningBatch(world, chatLines(1_300));
    const peaks = new Map<number, number>();
    const { deaths, failed, results } = await runToTheEnd(
      batch,
      ({ inFlight, turn }) => {
        peaks.set(turn, Math.max(peaks.get(turn) ?? 0, inFlight));
        return turn === 0 ? 'dies' : 'answered';
      },
      { worker: { inFlightStart: 40, inFlightMax: 40 } },
    );
    expect([deaths, failed, results.length]).toEqual([1, [], 1_300]);
    expect([...peaks]).toEqual([
      [0, 40],
      [1, 16],
      [2, 40],
    ]);
  });

  it('fail no line however many they are, where there is progress in between', async () => {
    const batch = await aRunningBatch(world, chatLines(120));
    let answered = 0;
    const { failed, results, deaths } = await runToTheEnd(
      batch,
      // Each of the first workers dies after a few answers, whatever line it is at.
      () => (++answered < 100 && answered % 7 === 0 ? 'dies' : 'answered'),
      { worker: { commitLines: 2 } },
    );
    expect(deaths).toBeGreaterThan(8);
    expect(failed).toEqual([]);
    expect(results).toHaveLength(120);
  });

  it('fail no line where four in a row come before anything is committed; later workers run as usual again', async () => {
    const batch = await aRunningBatch(world, chatLines(100));
    let most = 0;
    const { failed, records, deaths } = await runToTheEnd(batch, ({ turn, inFlight }) => {
      if (turn >= 5) most = Math.max(most, inFlight);
      return turn < 4 ? 'dies' : 'answered';
    });
    expect(deaths).toBe(4);
    expect(failed).toEqual([]);
    expect(most).toBeGreaterThan(10);
    expect(records[0]).toMatchObject({ completed: 100, deaths: 0 });
  });

  it('a worker that runs lines alone and ends in order is not counted', async () => {
    const batch = await aRunningBatch(world, chatLines(3));
    for (let death = 0; death < 4; death++) await world.shards.claim(batch.ref.batchId, batch.step().shard);
    let looks = 0;
    const short = { remainingMs: () => (looks++ < 3 ? 60_000 : 1_000) };
    const provider = {
      call: async () => ({ kind: 'answered' as const, status: 200, body: Buffer.from(chatAnswer('x')) }),
    };
    expect(await runShard(workerDeps(world, { provider }), batch.step(), short)).toMatchObject({ next: 'again' });
    const [record] = (await committedResults(world, batch.ref)).records;
    // After a line that it committed: the two that made it careful. Before one: those of the line, as it found them.
    expect(record?.deaths).toBe((record?.completed ?? 0) > 0 ? 2 : 4);
  });
});

describe('answers that are too much for one worker together', () => {
  it('are taken few at a time after it died of them, and none is lost', async () => {
    const batch = await aRunningBatch(world, chatLines(40));
    const { failed, results, deaths, calls } = await runToTheEnd(
      batch,
      ({ inFlight }) => (inFlight > 8 ? 'dies' : 'answered'),
      { worker: { inFlightBytes: 13 * ANSWER_BYTES } },
      'x'.repeat(ANSWER_BYTES - 1_000),
    );
    expect(failed).toEqual([]);
    expect(results).toHaveLength(40);
    // The first takes sixteen at a time. The second expects the largest answers, and dies of nothing.
    expect(deaths).toBe(1);
    expect(calls.length).toBeLessThanOrEqual(40 + 16);
  });

  it('are taken one at a time where even a few are too many', async () => {
    const batch = await aRunningBatch(world, chatLines(40));
    const { failed, results } = await runToTheEnd(batch, ({ inFlight }) => (inFlight > 1 ? 'dies' : 'answered'));
    expect(failed).toEqual([]);
    expect(results).toHaveLength(40);
  });
});
