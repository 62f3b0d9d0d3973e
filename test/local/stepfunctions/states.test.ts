import { afterEach, describe, expect, test } from 'vitest';
import { FunctionFailure, type Harness, invoke, only, startHarness } from './harness.ts';

let harness: Harness | undefined;
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

const output = (ended: { output?: string | undefined }) => JSON.parse(ended.output ?? 'null') as unknown;
const NOW_RETRY = { IntervalSeconds: 0.001, BackoffRate: 1, JitterStrategy: 'FULL', MaxDelaySeconds: 1 };

describe('a lambda:invoke task', () => {
  test('gives the function its payload, and puts the answer into Payload', async () => {
    const state = invoke('double', { OutputPath: '$' });
    harness = await startHarness({ m: only(state) }, { double: (p) => ({ n: (p as { n: number }).n * 2 }) });
    const ended = await harness.run('m', { n: 21 });
    expect(ended).toMatchObject({ status: 'SUCCEEDED' });
    expect(output(ended)).toEqual({ ExecutedVersion: '$LATEST', Payload: { n: 42 }, StatusCode: 200 });
  });

  test('of any partition is understood, and a function that answers nothing answers null', async () => {
    const state = invoke('nothing', { Resource: 'arn:aws-us-gov:states:::lambda:invoke' });
    harness = await startHarness({ m: only(state) }, { nothing: () => undefined });
    expect(await harness.run('m')).toMatchObject({ status: 'SUCCEEDED', output: 'null' });
  });

  test('that fails, fails the execution under the name of the function’s own error', async () => {
    const fails = () => {
      throw new FunctionFailure('StepDied', 'out of luck');
    };
    harness = await startHarness({ m: only(invoke('fails')) }, { fails });
    const ended = await harness.run('m');
    expect(ended).toMatchObject({ status: 'FAILED', error: 'StepDied' });
    expect(JSON.parse(ended.cause ?? '')).toEqual({ errorType: 'StepDied', errorMessage: 'out of luck' });
  });

  test.each([
    ['', 'Lambda.Unknown'],
    ['Sandbox.Timedout', 'Sandbox.Timedout'],
  ])('whose function died of "%s" failed with %s', async (errorType, name) => {
    const fails = () => {
      throw new FunctionFailure(errorType);
    };
    harness = await startHarness({ m: only(invoke('fails')) }, { fails });
    expect(await harness.run('m')).toMatchObject({ status: 'FAILED', error: name });
  });

  test('whose function cannot be reached failed with what machines retry', async () => {
    harness = await startHarness({ m: only(invoke('missing')) });
    expect(await harness.run('m')).toMatchObject({ status: 'FAILED', error: 'Lambda.SdkClientException' });
  });

  test('is tried again as Retry says, and then succeeds', async () => {
    let calls = 0;
    const third = () => {
      calls += 1;
      if (calls < 3) throw new FunctionFailure('Lambda.TooManyRequestsException');
      return { calls };
    };
    const Retry = [{ ErrorEquals: ['Lambda.TooManyRequestsException'], MaxAttempts: 2, ...NOW_RETRY }];
    harness = await startHarness({ m: only(invoke('third', { Retry })) }, { third });
    const ended = await harness.run('m');
    expect(output(ended)).toEqual({ calls: 3 });
  });

  test('whose retries are used up goes where Catch says, with the error beside the input', async () => {
    let calls = 0;
    const fails = () => {
      calls += 1;
      throw new FunctionFailure('StepDied', 'again');
    };
    harness = await startHarness(
      {
        m: {
          StartAt: 'Fetch',
          States: {
            Fetch: invoke('fails', {
              Next: 'Done',
              Retry: [{ ErrorEquals: ['States.TaskFailed'], MaxAttempts: 2, ...NOW_RETRY }],
              Catch: [{ ErrorEquals: ['States.ALL'], ResultPath: '$.error', Next: 'Fail' }],
            }),
            Fail: { Type: 'Pass', Next: 'Done' },
            Done: { Type: 'Succeed' },
          },
        },
      },
      { fails },
    );
    const ended = await harness.run('m', { batchId: 'b' });
    expect(calls).toBe(3);
    const Cause = JSON.stringify({ errorType: 'StepDied', errorMessage: 'again' });
    expect(output(ended)).toEqual({ batchId: 'b', error: { Error: 'StepDied', Cause } });
  });

  test('that takes longer than its TimeoutSeconds failed with States.Timeout', async () => {
    const state = invoke('never', { TimeoutSeconds: 1 });
    harness = await startHarness({ m: only(state) }, { never: () => new Promise(() => undefined) });
    expect(await harness.run('m')).toMatchObject({ status: 'FAILED', error: 'States.Timeout' });
  });

  test('whose answer is over 256 KiB failed with States.DataLimitExceeded, which no Catch sees', async () => {
    const state = invoke('large', { Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Caught' }] });
    const machine = { StartAt: 'Only', States: { Only: state, Caught: { Type: 'Succeed' } } };
    harness = await startHarness({ m: machine }, { large: () => 'x'.repeat(256 * 1024) });
    expect(await harness.run('m')).toMatchObject({ status: 'FAILED', error: 'States.DataLimitExceeded' });
  });

  test('reads the context object', async () => {
    const state = invoke('echo', {
      Parameters: {
        FunctionName: 'arn:aws:lambda:us-east-1:000000000000:function:echo',
        Payload: { 'name.$': '$$.Execution.Name', 'id.$': '$$.Execution.Id', 'machine.$': '$$.StateMachine.Name' },
      },
    });
    harness = await startHarness({ m: only(state) }, { echo: (payload) => payload });
    const ended = await harness.run('m', {}, 'one');
    expect(output(ended)).toEqual({ name: 'one', id: ended.executionArn, machine: 'm' });
  });
});

describe('the other states', () => {
  test('a choice follows its rules, those of absence included', async () => {
    const States = {
      Choose: {
        Type: 'Choice',
        Choices: [
          { Variable: '$.next', IsPresent: false, Next: 'Absent' },
          {
            And: [
              { Variable: '$.next', StringEquals: 'again' },
              { Variable: '$.turn', NumericLessThan: 3 },
            ],
            Next: 'Again',
          },
        ],
        Default: 'Else',
      },
      Absent: { Type: 'Pass', Result: 'absent', End: true },
      Again: { Type: 'Pass', Result: 'again', End: true },
      Else: { Type: 'Pass', Result: 'else', End: true },
    };
    harness = await startHarness({ m: { StartAt: 'Choose', States } });
    expect(output(await harness.run('m', {}))).toBe('absent');
    expect(output(await harness.run('m', { next: 'again', turn: 2 }))).toBe('again');
    expect(output(await harness.run('m', { next: 'again', turn: 3 }))).toBe('else');
  });

  test('a wait waits as long as its input says, on the clock that was given', async () => {
    const slept: number[] = [];
    const clock = {
      now: () => Date.parse('2026-01-15T10:30:00.000Z'),
      sleep: async (ms: number) => void slept.push(ms),
    };
    const States = {
      Day: { Type: 'Wait', SecondsPath: '$.waitSeconds', Next: 'Moment' },
      Moment: { Type: 'Wait', TimestampPath: '$.until', Next: 'Fixed' },
      Fixed: { Type: 'Wait', Seconds: 7, End: true },
    };
    harness = await startHarness({ m: { StartAt: 'Day', States } }, {}, { clock });
    const input = { waitSeconds: 86_400, until: '2026-01-15T10:31:00Z' };
    const ended = await harness.run('m', input);
    expect(output(ended)).toEqual(input);
    expect(slept).toEqual([86_400_000, 60_000, 7_000]);
  });

  test('a wait for what is no whole number of seconds fails the execution', async () => {
    harness = await startHarness({ m: only({ Type: 'Wait', SecondsPath: '$.waitSeconds', End: true }) });
    expect(await harness.run('m', { waitSeconds: -1 })).toMatchObject({ status: 'FAILED', error: 'States.Runtime' });
    expect(await harness.run('m', {})).toMatchObject({ status: 'FAILED', error: 'States.Runtime' });
  });

  test('a Fail state fails with its own error and cause', async () => {
    harness = await startHarness({ m: only({ Type: 'Fail', Error: 'GaveUp', Cause: 'no use' }) });
    expect(await harness.run('m')).toMatchObject({ status: 'FAILED', error: 'GaveUp', cause: 'no use' });
  });

  test('an execution over the machine’s TimeoutSeconds has timed out', async () => {
    const clock = { now: () => Date.now(), sleep: async () => undefined };
    const machine = { ...only(invoke('never')), TimeoutSeconds: 3_600 };
    harness = await startHarness({ m: machine }, { never: () => new Promise(() => undefined) }, { clock });
    expect(await harness.run('m')).toMatchObject({ status: 'TIMED_OUT' });
  });
});
