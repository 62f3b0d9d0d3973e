import type { Context } from 'aws-lambda';
import type * as z from 'zod';
import { type StepInput, type StepName, type StepOutput, steps } from '../contract/steps.ts';
import type { Invocation, Log } from '../ports.ts';

/**
 * Step Functions matches these names as text (`ErrorEquals`), and a minifier renames classes: so names are literals.
 */
export class InvalidStepInput extends Error {
  override readonly name = 'InvalidStepInput';
}
export class InvalidStepOutput extends Error {
  override readonly name = 'InvalidStepOutput';
}

/** The handler of one step: parses what it is given and what it answers by the step's contract. */
export function stepHandler<S extends StepName>(
  step: S,
  { log }: { log: Log },
  run: (input: StepInput<S>, invocation: Invocation) => Promise<StepOutput<S>>,
): (event: unknown, context: Context) => Promise<StepOutput<S>> {
  const contract = steps[step];
  return async (event, context) => {
    const parsed = contract.input.safeParse(event);
    if (!parsed.success) throw new InvalidStepInput(problems(step, parsed.error), { cause: parsed.error });
    // Parsed by this very step's schema.
    const input = parsed.data as StepInput<S>;
    const ids = { step, project_id: input.projectId, batch_id: input.batchId, request_id: context.awsRequestId };
    try {
      const answer = await run(input, { remainingMs: () => context.getRemainingTimeInMillis() });
      const output = contract.output.safeParse(answer);
      if (!output.success) throw new InvalidStepOutput(problems(step, output.error), { cause: output.error });
      log.info('step', { ...ids, next: output.data.next });
      return output.data as StepOutput<S>;
    } catch (error) {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      log.error('step failed', { ...ids, error_name: name, error_message: message, stack });
      throw error;
    }
  };
}

const problems = (step: StepName, { issues }: z.ZodError) =>
  `${step}: ${issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ')}`;
