import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import type { StepInput, StepOutput } from '../../shared/contract/steps.ts';
import { stepHandler } from '../../shared/lambda/stepHandler.ts';
import type { Invocation } from '../../shared/ports.ts';
import { lambdaContext } from '../support/httpEvents.ts';
import { recordedLog } from '../support/recordedLog.ts';

const run = { version: 1, projectId: 'acme', batchId: 'batch_1', attempt: 1 } as const;
type Step = (input: StepInput<'planShards'>, invocation: Invocation) => Promise<StepOutput<'planShards'>>;
const handlerOf = (step: Step, log = recordedLog()) => stepHandler('planShards', { log }, step);

it('gives a step its parsed input and the time it has left', async () => {
  let seen: unknown;
  const handler = handlerOf(async (input, invocation) => {
    seen = { input, left: invocation.remainingMs() };
    return { ...run, next: 'finalize', round: 1 };
  });
  expect(await handler(run, lambdaContext(1234))).toEqual({ ...run, next: 'finalize', round: 1 });
  expect(seen).toEqual({ input: { ...run, round: 0 }, left: 1234 });
});

it('refuses input that is not the step’s, by a name that Step Functions can match', async () => {
  const handler = handlerOf(async () => ({ ...run, next: 'end', round: 1 }));
  await expect(handler({ ...run, attempt: 0 }, lambdaContext())).rejects.toMatchObject({ name: 'InvalidStepInput' });
  await expect(handler(undefined, lambdaContext())).rejects.toMatchObject({ name: 'InvalidStepInput' });
});

it('lets no answer out that the next step would refuse', async () => {
  const handler = handlerOf(async () => ({ ...run, next: 'end', round: 0 }));
  await expect(handler(run, lambdaContext())).rejects.toMatchObject({ name: 'InvalidStepOutput' });
});

it('leaves a step’s own error as it is, and logs it with the batch', async () => {
  const log = recordedLog();
  class Gone extends Error {
    override readonly name = 'FileMissing';
  }
  const handler = handlerOf(async () => {
    throw new Gone('no plan');
  }, log);
  await expect(handler(run, lambdaContext())).rejects.toMatchObject({ name: 'FileMissing', message: 'no plan' });
  expect(log.lines[0]).toMatchObject({
    level: 'error',
    fields: { batch_id: 'batch_1', error: { name: 'FileMissing' } },
  });
});

it('says on every line what it is about: step, request, batch, project, execution, attempt, shard and turn', async () => {
  const log = recordedLog();
  const shard = { shard: 3, start: 0, end: 9, firstLine: 1, lines: 1, runnable: 1 };
  const handler = stepHandler('runShard', { log }, async (input) => {
    log.warn('control not read');
    return { ...input, turn: 5, next: 'end', waitSeconds: 0 };
  });
  await handler({ ...run, attempt: 2, shard, turn: 4 }, lambdaContext());
  const ids = {
    step: 'runShard',
    request_id: 'lambda-request',
    project_id: 'acme',
    batch_id: 'batch_1',
    execution: 'batch_1-2',
    attempt: 2,
    shard: 3,
    turn: 4,
  };
  expect(log.lines).toEqual([
    { level: 'warn', message: 'control not read', fields: ids },
    { level: 'info', message: 'step', fields: { ...ids, next: 'end' } },
  ]);
});

it.each([
  [{ notification: 2 }, 'batch_1-notify-2'],
  [{ snapshot: 7 }, 'batch_1-snapshot-7'],
])('names the execution of %j', async (input, execution) => {
  const log = recordedLog();
  const refused = stepHandler('planShards', { log }, async () => ({ ...run, next: 'end', round: 1 }));
  const { attempt: _, ...rest } = run;
  await expect(refused({ ...rest, ...input }, lambdaContext())).rejects.toThrow();
  expect(log.lines[0]).toMatchObject({ message: 'step failed', fields: { execution } });
});

it('logs input that it refuses by those ids in it that look like ids', async () => {
  const log = recordedLog();
  const handler = handlerOf(async () => ({ ...run, next: 'end', round: 1 }), log);
  await expect(handler({ ...run, projectId: 'Say hello.', attempt: 'one' }, lambdaContext())).rejects.toThrow();
  expect(log.lines[0]).toMatchObject({
    message: 'step failed',
    fields: { batch_id: 'batch_1', project_id: undefined },
  });
});

it('throws no more of a foreign error than its name: Step Functions keeps what it is told', async () => {
  const handler = handlerOf(async () => {
    JSON.parse('{"input": Say hello');
    return { ...run, next: 'end', round: 1 };
  });
  const thrown: unknown = await handler(run, lambdaContext()).catch((error: unknown) => error);
  expect(thrown).toMatchObject({ name: 'SyntaxError' });
  expect(inspect(thrown, { showHidden: true, depth: 9 })).not.toContain('hello');
  expect((thrown as Error).stack).toMatch(/\n {4}at .*stepHandler\.test\.ts/);
});
