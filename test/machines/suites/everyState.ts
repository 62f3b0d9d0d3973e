import { describe, expect, test } from 'vitest';
import { FINAL_ERRORS, type StepName } from '../../../shared/contract/steps.ts';
import { allStates, MACHINES, type MachineName } from '../definitions.ts';
import { allDone, FAULT, fails, INPUTS, planned, shardDone, shards, to } from '../runs.ts';
import type { Played, Reply, Script, Stage } from '../stage.ts';

/** How a machine comes to a state, which step runs there, and what lets the machine end after it. */
type Way = { step: StepName; before: Script; done: Reply; after: Script };

const SERVICE_ERRORS = [
  'Lambda.ClientExecutionTimeoutException',
  'Lambda.ServiceException',
  'Lambda.AWSLambdaException',
  'Lambda.SdkClientException',
  'Lambda.TooManyRequestsException',
];
const SERVICE_TRIES = 24;
const FAULT_TRIES = 8;
const DEATHS = ['Runtime.ExitError', 'Runtime.OutOfMemory', 'Lambda.Unknown'];
const DEATH_TRIES = 14;

/** Tries, and what is left to do, for every Task, Map and Wait state of the machines. */
async function waysTo(stage: Stage): Promise<Record<MachineName, Record<string, Way>>> {
  const key = await stage.putList(shards(2));
  const one = await stage.putList(shards(1));
  const gather: Script = { failBatch: to('finalize'), finalizeBatch: to('end') };
  const toMap = (list: string): Script => ({ fetchInput: to('plan'), planShards: [planned(list), allDone(2)] });
  const runShard = { step: 'runShard', done: shardDone(), after: gather } as const;
  return {
    batch: {
      Fetch: { step: 'fetchInput', before: {}, done: to('end'), after: gather },
      Validate: { step: 'validateInput', before: { fetchInput: to('validate') }, done: to('end'), after: gather },
      Plan: {
        step: 'planShards',
        before: { fetchInput: to('plan') },
        done: to('end', { round: 1 }),
        after: gather,
      },
      Process: { ...runShard, before: toMap(key) },
      'Process/RunShard': { ...runShard, before: toMap(one) },
      'Process/WaitForModel': {
        ...runShard,
        before: { ...toMap(one), runShard: [to('wait', { turn: 1, waitSeconds: 900 }), shardDone(2)] },
      },
      Finalize: {
        step: 'finalizeBatch',
        before: { fetchInput: to('finalize') },
        done: to('end'),
        after: { failBatch: to('end') },
      },
      LetWorkersCommit: {
        step: 'finalizeBatch',
        before: { fetchInput: to('finalize'), finalizeBatch: [to('settle', { waitSeconds: 15 }), to('end')] },
        done: to('end'),
        after: {},
      },
      Fail: { step: 'failBatch', before: { fetchInput: fails('FileMissing') }, done: to('end'), after: {} },
    },
    notification: {
      Notify: { step: 'notifyReceiver', before: {}, done: to('end', { waitSeconds: 0 }), after: {} },
      WaitForReceiver: {
        step: 'notifyReceiver',
        before: { notifyReceiver: [to('wait', { waitSeconds: 300 }), to('end', { waitSeconds: 0 })] },
        done: to('end', { waitSeconds: 0 }),
        after: {},
      },
    },
    snapshot: { Snapshot: { step: 'snapshotBatch', before: {}, done: to('end'), after: {} } },
  };
}

/** What holds for every state alike: those of the definitions are gone through, so that a new one must find its way. */
export function everyStateSuite(stage: () => Stage): void {
  async function forEach(
    types: string[],
    look: (machine: MachineName, name: string, way: Way) => Promise<void>,
  ): Promise<void> {
    const ways = await waysTo(stage());
    for (const machine of MACHINES)
      for (const [name, { Type }] of allStates(stage().machines.definitions[machine])) {
        if (!types.includes(Type)) continue;
        const way = ways[machine][name];
        if (!way) throw new Error(`No test knows how the ${machine} machine comes to ${name}`);
        await look(machine, name, way);
      }
  }

  /** Plays the state's step with such replies; answers also how often it was called. */
  async function tryOut(machine: MachineName, way: Way, replies: Reply | Reply[]): Promise<Played & { tries: number }> {
    const script = { ...way.after, ...way.before, [way.step]: replies };
    const played = await stage().play(machine, INPUTS[machine], script);
    return { ...played, tries: played.calls.filter(({ step }) => step === way.step).length };
  }

  /** A step that failed for good: Fail is told of it, a child ends alone, and the rest fail their executions. */
  function expectFailed(name: string, error: string, played: Played): void {
    if (name === 'Process/RunShard') {
      expect(played, name).toMatchObject({ status: 'SUCCEEDED', children: [['RunShard']] });
    } else if (played.path.includes('Fail') && name !== 'Fail') {
      const told = played.calls.find(({ step }) => step === 'failBatch');
      expect(told?.input, name).toMatchObject({ error: { Error: error } });
    } else expect(played, name).toMatchObject({ status: 'FAILED', error });
  }

  describe('every task', () => {
    test('is tried again for what is tried out here, and for nothing else', async () => {
      await forEach(['Task'], async (machine, name) => {
        const state = new Map(allStates(stage().machines.definitions[machine])).get(name);
        const rules = state?.Retry?.map(({ ErrorEquals, MaxAttempts }) => [ErrorEquals, MaxAttempts]);
        expect(rules, name).toEqual([
          [SERVICE_ERRORS, SERVICE_TRIES],
          [FINAL_ERRORS, 0],
          [DEATHS, DEATH_TRIES],
          [['States.TaskFailed', 'States.Timeout'], FAULT_TRIES],
        ]);
      });
    });

    test(`is tried ${SERVICE_TRIES} times more where Lambda throttles or fails`, async () => {
      await forEach(['Task'], async (machine, name, way) => {
        for (const error of SERVICE_ERRORS) {
          const refused = Array<Reply>(SERVICE_TRIES).fill(fails(error));
          const played = await tryOut(machine, way, [...refused, way.done]);
          expect(played, `${name}, ${error}`).toMatchObject({ status: 'SUCCEEDED', tries: SERVICE_TRIES + 1 });
        }
        const played = await tryOut(machine, way, fails('Lambda.TooManyRequestsException'));
        // Finalize is come to once more, after Fail, only where Fail says so.
        expect(played.tries, name).toBe(SERVICE_TRIES + 1);
        expectFailed(name, 'Lambda.TooManyRequestsException', played);
      });
    });

    test.each([
      [FAULT_TRIES, 'a failure of its function or a timeout', [FAULT, 'Sandbox.Timedout', 'States.Timeout']],
      [DEATH_TRIES, 'the death of its process', DEATHS],
    ])('is tried %i times more after %s', async (tries, _, errors) => {
      await forEach(['Task'], async (machine, name, way) => {
        for (const error of errors) {
          const failed = Array<Reply>(tries).fill(fails(error));
          const played = await tryOut(machine, way, [...failed, way.done]);
          expect(played, `${name}, ${error}`).toMatchObject({ status: 'SUCCEEDED', tries: tries + 1 });
          const forGood = await tryOut(machine, way, fails(error));
          expect(forGood.tries, `${name}, ${error}`).toBe(tries + 1);
          expectFailed(name, error, forGood);
        }
      });
    });

    test('has its tries after failures whatever throttles came before', async () => {
      await forEach(['Task'], async (machine, name, way) => {
        const throttled = Array<Reply>(SERVICE_TRIES).fill(fails('Lambda.TooManyRequestsException'));
        const failed = Array<Reply>(FAULT_TRIES).fill(fails(FAULT));
        const played = await tryOut(machine, way, [...throttled, ...failed, way.done]);
        expect(played, name).toMatchObject({ status: 'SUCCEEDED', tries: SERVICE_TRIES + FAULT_TRIES + 1 });
      });
    });

    test('is not tried again after an error that another try would meet again', async () => {
      await forEach(['Task'], async (machine, name, way) => {
        for (const error of FINAL_ERRORS) {
          const played = await tryOut(machine, way, fails(error));
          expect(played.tries, `${name}, ${error}`).toBe(1);
          expectFailed(name, error, played);
        }
      });
    });
  });

  describe('an execution that is stopped', () => {
    test('in a task or in the map ends at once; what runs then ends for itself, and nothing follows', async () => {
      await forEach(['Task', 'Map'], async (machine, name, way) => {
        const entered = Promise.withResolvers<void>();
        const released = Promise.withResolvers<void>();
        const held = async (input: Record<string, unknown>) => {
          entered.resolve();
          await released.promise;
          return { ...input, ...(way.done as Record<string, unknown>) };
        };
        const script = { ...way.after, ...way.before, [way.step]: held };
        const begun = await stage().begin(machine, INPUTS[machine], script);
        await entered.promise;
        await begun.stop();
        const played = await begun.ended();
        expect(played.status, name).toBe('ABORTED');
        released.resolve();
        // A call that came from the stopped one would be this one's, whose script has a single call.
        const next = await stage().play('snapshot', INPUTS.snapshot, { snapshotBatch: [to('end')] });
        expect(next.calls, name).toHaveLength(1);
      });
    });

    test('while it waits ends at once', async () => {
      await forEach(['Wait'], async (machine, name, way) => {
        const script = { ...way.after, ...way.before };
        const begun = await stage().begin(machine, INPUTS[machine], script, { holdWaits: true });
        await begun.waiting;
        await begun.stop();
        const played = await begun.ended();
        expect(played.status, name).toBe('ABORTED');
        expect([...played.path, ...played.children.flat()], name).toContain(name.split('/').at(-1));
        expect(
          played.calls.filter(({ step }) => step === way.step),
          name,
        ).toHaveLength(1);
      });
    });
  });

  test('an execution whose machine’s time is over has timed out, and nothing follows', async () => {
    const ways = await waysTo(stage());
    for (const machine of MACHINES) {
      const { StartAt, TimeoutSeconds } = stage().machines.definitions[machine];
      expect(TimeoutSeconds, machine).toBeGreaterThan(0);
      const way = ways[machine][StartAt];
      if (!way) throw new Error(`No test knows ${StartAt}`);
      const entered = Promise.withResolvers<void>();
      const never = () => {
        entered.resolve();
        return new Promise(() => undefined);
      };
      const begun = await stage().begin(machine, INPUTS[machine], { [way.step]: never });
      await entered.promise;
      stage().clock.runOut();
      expect(await begun.ended(), machine).toMatchObject({ status: 'TIMED_OUT', path: [StartAt] });
    }
  });
}
