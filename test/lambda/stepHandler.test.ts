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
  expect(log.lines[0]).toMatchObject({ level: 'error', fields: { batch_id: 'batch_1', error_name: 'FileMissing' } });
});
