import { describe, expect, test } from 'vitest';
import { MAX_SHARD_TURNS } from '../../../shared/contract/steps.ts';
import { STEP_VERSION_UNKNOWN } from '../../../shared/contract/stepVersions.ts';
import { allDone, FAULT, fails, INPUTS, planned, shardDone, shards, smooth, to } from '../runs.ts';
import type { Played, Script, Stage } from '../stage.ts';

const SUCCEEDED = { status: 'SUCCEEDED' };
const LEFT_TO_THE_CHECK = { status: 'FAILED', error: 'StepDied' };

const inputsOf = ({ calls }: Played, step: string) =>
  calls.filter((call) => call.step === step).map(({ input }) => input);

export function batchMachineSuite(stage: () => Stage): void {
  const play = (script: Script, input = INPUTS.batch) => stage().play('batch', input, script);
  /** A batch whose only list has so many shards. */
  const playShards = async (count: number, script: Script) =>
    play({ ...smooth(await stage().putList(shards(count))), ...script });

  describe('the batch machine', () => {
    test('runs a batch from its input to its end, each step given what the one before answered', async () => {
      const key = await stage().putList(shards(3));
      const played = await play(smooth(key));
      expect(played).toMatchObject(SUCCEEDED);
      expect(played.path).toEqual([
        ...['Fetch', 'AfterFetch', 'Validate', 'AfterValidate', 'Plan', 'AfterPlan', 'Process'],
        ...['Plan', 'AfterPlan', 'Finalize', 'AfterFinalize', 'Ended'],
      ]);
      expect(played.children).toEqual(Array(3).fill(['RunShard', 'AfterRunShard', 'ShardEnded']));
      const run = { ...INPUTS.batch };
      expect(inputsOf(played, 'runShard')).toEqual(
        expect.arrayContaining(shards(3).map((shard) => ({ ...run, shard, turn: 0 }))),
      );
      const [first, second] = inputsOf(played, 'planShards');
      expect(first).toEqual({ ...run, next: 'plan' });
      // The map's results are in S3, so what Plan answered comes back to it.
      expect(second).toEqual({ ...run, next: 'process', round: 1, key, maxConcurrency: 2 });
    });

    describe('after Fetch', () => {
      test('"fetch" goes on with the checkpoint', async () => {
        const checkpoint = 'parts/project/batch_1/1-fetch.checkpoint';
        const played = await play({ fetchInput: [to('fetch', { checkpoint }), to('end')] });
        expect(played.path).toEqual(['Fetch', 'AfterFetch', 'Fetch', 'AfterFetch', 'Ended']);
        expect(inputsOf(played, 'fetchInput')).toEqual([INPUTS.batch, { ...INPUTS.batch, next: 'fetch', checkpoint }]);
      });

      test('"plan" leaves out Validate: an earlier attempt was through with it', async () => {
        const played = await play({ fetchInput: to('plan'), planShards: to('end', { round: 1 }) });
        expect(played.path).toEqual(['Fetch', 'AfterFetch', 'Plan', 'AfterPlan', 'Ended']);
      });

      test('"finalize" goes to the end at once: the batch is stopped', async () => {
        const played = await play({ fetchInput: to('finalize'), finalizeBatch: to('end') });
        expect(played.path).toEqual(['Fetch', 'AfterFetch', 'Finalize', 'AfterFinalize', 'Ended']);
      });

      test('"end" ends: another attempt has taken over', async () => {
        expect(await play({ fetchInput: to('end') })).toMatchObject({
          ...SUCCEEDED,
          path: ['Fetch', 'AfterFetch', 'Ended'],
        });
      });
    });

    describe('after Validate', () => {
      test('"finalize" ends a batch whose input is bad', async () => {
        const played = await play({
          fetchInput: to('validate'),
          validateInput: to('finalize'),
          finalizeBatch: to('end'),
        });
        expect(played.path.slice(2)).toEqual(['Validate', 'AfterValidate', 'Finalize', 'AfterFinalize', 'Ended']);
      });

      test('"end" ends', async () => {
        const played = await play({ fetchInput: to('validate'), validateInput: to('end') });
        expect(played.path.slice(2)).toEqual(['Validate', 'AfterValidate', 'Ended']);
      });
    });

    describe('Finalize', () => {
      test('goes on with its checkpoint in as many invocations as it takes', async () => {
        const checkpoint = 'parts/project/batch_1/1-finalize.checkpoint';
        const more = to('finalize', { checkpoint });
        const played = await play({ fetchInput: to('finalize'), finalizeBatch: [more, more, to('end')] });
        expect(played).toMatchObject(SUCCEEDED);
        const inputs = inputsOf(played, 'finalizeBatch').map((input) => input.checkpoint);
        expect(inputs).toEqual([undefined, checkpoint, checkpoint]);
      });

      test('waits as long as it says after a cancel, and begins then', async () => {
        const script = {
          fetchInput: to('finalize'),
          finalizeBatch: [to('settle', { waitSeconds: 15, settled: true }), to('end')],
        };
        const played = await play(script);
        expect(played.path.slice(2)).toEqual([
          ...['Finalize', 'AfterFinalize', 'LetWorkersCommit', 'Finalize', 'AfterFinalize', 'Ended'],
        ]);
        expect(played.waits).toEqual([15]);
        expect(inputsOf(played, 'finalizeBatch').map(({ settled }) => settled)).toEqual([undefined, true]);
      });
    });

    test('whose version the code does not know any more fails by that name, without another try', async () => {
      const unknown = fails(STEP_VERSION_UNKNOWN);
      const played = await play({ fetchInput: unknown, failBatch: unknown });
      expect(played).toMatchObject({ status: 'FAILED', error: STEP_VERSION_UNKNOWN, path: ['Fetch', 'Fail'] });
      expect(played.calls).toHaveLength(2);
    });

    describe('a step that fails for good', () => {
      const failing: Record<string, Script> = {
        Fetch: { fetchInput: fails('InvalidStepInput') },
        Validate: { fetchInput: to('validate'), validateInput: fails('FileChanged') },
        Plan: { fetchInput: to('plan'), planShards: fails('NoProgress') },
        Finalize: { fetchInput: to('finalize'), finalizeBatch: [fails('FinalizedTooEarly'), to('end')] },
      };

      describe.each(Object.entries(failing))('%s', (state, script) => {
        test('goes to Fail with its error, and with "finalize" to the end with what there is', async () => {
          const played = await play({ finalizeBatch: to('end'), ...script, failBatch: to('finalize') });
          expect(played).toMatchObject(SUCCEEDED);
          const failedAt = played.path.indexOf('Fail');
          expect(played.path[failedAt - 1]).toBe(state);
          expect(played.path.slice(failedAt)).toEqual(['Fail', 'AfterFail', 'Finalize', 'AfterFinalize', 'Ended']);
          const [input] = inputsOf(played, 'failBatch');
          expect(input).toMatchObject({ ...INPUTS.batch, error: { Error: expect.any(String) } });
        });

        test('"give_up" fails the execution, and the check takes it from there', async () => {
          const played = await play({ ...script, failBatch: to('give_up') });
          expect(played).toMatchObject(LEFT_TO_THE_CHECK);
          expect(played.cause).toContain('checkBatches starts the next attempt');
          expect(played.path.slice(-3)).toEqual(['Fail', 'AfterFail', 'LeftToTheCheck']);
        });

        test('"end" ends: the batch has ended, or another attempt has taken over', async () => {
          const played = await play({ ...script, failBatch: to('end') });
          expect(played).toMatchObject(SUCCEEDED);
          expect(played.path.slice(-3)).toEqual(['Fail', 'AfterFail', 'Ended']);
        });
      });

      test('a Finalize that fails again after Fail gives up, and does not go round', async () => {
        const played = await play({
          fetchInput: to('finalize'),
          finalizeBatch: fails('ResultsInconsistent'),
          failBatch: [to('finalize'), to('give_up')],
        });
        expect(played).toMatchObject(LEFT_TO_THE_CHECK);
        expect(inputsOf(played, 'finalizeBatch')).toHaveLength(2);
      });

      test('Fail itself: the execution fails under its error', async () => {
        const played = await play({ fetchInput: fails('FileMissing'), failBatch: fails('StoredRecordInvalid') });
        expect(played).toMatchObject({ status: 'FAILED', error: 'StoredRecordInvalid', path: ['Fetch', 'Fail'] });
      });

      test('an answer over 256 KiB, which no Catch sees, fails the execution', async () => {
        const played = await play({ fetchInput: to('end', { checkpoint: 'x'.repeat(256 * 1024) }) });
        expect(played).toMatchObject({ status: 'FAILED', error: 'States.DataLimitExceeded', path: ['Fetch'] });
      });
    });

    describe('the map', () => {
      test('runs as many children at once as Plan allows', async () => {
        let inside = 0;
        let most = 0;
        const key = await stage().putList(shards(6));
        const runShard = async (input: Record<string, unknown>) => {
          inside += 1;
          most = Math.max(most, inside);
          await new Promise((resolve) => setImmediate(resolve));
          inside -= 1;
          return { ...input, ...shardDone() };
        };
        const played = await play({ ...smooth(key), planShards: [planned(key, 1, 3), allDone(2)], runShard });
        expect(played.children).toHaveLength(6);
        expect(most).toBeLessThanOrEqual(3);
      });

      test('outlives a child that fails: Plan lists what is left, and the map runs again', async () => {
        const [first, second] = [await stage().putList(shards(3)), await stage().putList(shards(1))];
        let failed = false;
        const played = await play({
          ...smooth(first),
          planShards: [planned(first), planned(second, 2), allDone(3)],
          runShard(input) {
            if (failed || (input.shard as { shard: number }).shard !== 0) return { ...input, ...shardDone() };
            failed = true;
            throw fails('FileMissing');
          },
        });
        expect(played).toMatchObject(SUCCEEDED);
        expect(played.path.filter((state) => state === 'Process')).toHaveLength(2);
        expect(played.children.filter((path) => path.length === 1)).toEqual([['RunShard']]);
        expect(inputsOf(played, 'planShards').map(({ round }) => round)).toEqual([undefined, 1, 2]);
      });

      test('outlives that all its children fail', async () => {
        const played = await playShards(3, { runShard: fails('FileMissing') });
        expect(played).toMatchObject({ ...SUCCEEDED, children: Array(3).fill(['RunShard']) });
        expect(played.path).not.toContain('Fail');
      });

      test('of an empty list has no children', async () => {
        expect(await playShards(0, {})).toMatchObject({ ...SUCCEEDED, children: [] });
      });

      test('a child takes turns until its shard is done', async () => {
        const again = (turn: number) => to('again', { turn, waitSeconds: 0 });
        const played = await playShards(1, { runShard: [again(1), again(2), shardDone(3)] });
        expect(inputsOf(played, 'runShard').map(({ turn }) => turn)).toEqual([0, 1, 2]);
        expect(played.children).toEqual([
          ['RunShard', 'AfterRunShard', 'RunShard', 'AfterRunShard', 'RunShard', 'AfterRunShard', 'ShardEnded'],
        ]);
        expect(played.waits).toEqual([]);
      });

      test('a child that has nothing to do waits as long as it says', async () => {
        const wait = (turn: number, waitSeconds: number) => to('wait', { turn, waitSeconds });
        const played = await playShards(1, { runShard: [wait(1, 20), wait(2, 900), shardDone(3)] });
        expect(played.waits).toEqual([20, 900]);
        expect(played.children[0]?.slice(0, 4)).toEqual(['RunShard', 'AfterRunShard', 'WaitForModel', 'RunShard']);
      });

      test.each(['again', 'wait'])('a child that is out of turns ends, though it says "%s"', async (next) => {
        const reply = (turn: number) => to(next, { turn, waitSeconds: 1 });
        const played = await playShards(1, { runShard: [reply(MAX_SHARD_TURNS - 1), reply(MAX_SHARD_TURNS)] });
        expect(played).toMatchObject(SUCCEEDED);
        expect(inputsOf(played, 'runShard')).toHaveLength(2);
        expect(played.children[0]?.at(-1)).toBe('ShardEnded');
      });

      test.each([
        ['is not there', async () => 'shards/project/batch_1/none.jsonl'],
        ['is not JSON', async () => stage().putList('{"shard":\n')],
      ])('whose list %s fails as a step does', async (_, list) => {
        const script = { fetchInput: to('plan'), planShards: planned(await list()) };
        const gathered = await play({ ...script, failBatch: to('finalize'), finalizeBatch: to('end') });
        expect(gathered).toMatchObject(SUCCEEDED);
        expect(gathered.path.slice(4)).toEqual(['Process', 'Fail', 'AfterFail', 'Finalize', 'AfterFinalize', 'Ended']);
        expect(inputsOf(gathered, 'failBatch')[0]).toMatchObject({ error: { Error: 'States.ItemReaderFailed' } });
        expect(await play({ ...script, failBatch: to('give_up') })).toMatchObject(LEFT_TO_THE_CHECK);
        expect(await play({ ...script, failBatch: to('end') })).toMatchObject(SUCCEEDED);
      });

      test('that Plan gives no bound fails the execution, which no Catch sees', async () => {
        const planShards = to('process', { round: 1, key: await stage().putList(shards(1)) });
        const played = await play({ fetchInput: to('plan'), planShards });
        expect(played).toMatchObject({ status: 'FAILED', error: 'States.Runtime' });
        expect(played.path.at(-1)).toBe('Process');
      });
    });

    test('a hiccup in each step is not seen in what the machine does', async () => {
      const key = await stage().putList(shards(1));
      const hiccup = fails(FAULT);
      const played = await play({
        fetchInput: [hiccup, to('validate')],
        validateInput: [hiccup, hiccup, to('plan')],
        planShards: [hiccup, planned(key), hiccup, allDone(2)],
        runShard: [hiccup, shardDone()],
        finalizeBatch: [hiccup, to('end')],
      });
      const calm = await play(smooth(key));
      expect(played).toMatchObject({ ...SUCCEEDED, path: calm.path, children: calm.children, output: calm.output });
    });
  });
}
