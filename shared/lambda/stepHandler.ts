import type { Context } from 'aws-lambda';
import type * as z from 'zod';
import { STEP_VERSION, type StepInput, type StepName, type StepOutput, steps } from '../contract/steps.ts';
import { OLDER_STEPS, type OlderStep, type OlderSteps, type STEP_VERSION_UNKNOWN } from '../contract/stepVersions.ts';
import { batchExecutionName, notificationExecutionName, PROJECT_ID, snapshotExecutionName } from '../domain/ids.ts';
import type { Invocation, Log } from '../ports.ts';
import { lambdaHandler } from './lambdaHandler.ts';
import { meteredHandler } from './metering.ts';

/**
 * Step Functions matches these names as text (`ErrorEquals`), and a minifier renames classes: so names are literals.
 */
export class InvalidStepInput extends Error {
  override readonly name = 'InvalidStepInput';
}
export class InvalidStepOutput extends Error {
  override readonly name = 'InvalidStepOutput';
}

/** The execution's definition is of a version that this code does not know: older than it reads, or newer (a rollback). */
export class StepVersionUnknown extends Error {
  override readonly name = 'StepVersionUnknown' satisfies typeof STEP_VERSION_UNKNOWN;
}

/**
 * The handler of one step: parses what it is given and what it answers by the step's contract. An execution of an older
 * version that is still known is read, and answered in its own shape.
 */
export function stepHandler<S extends StepName>(
  step: S,
  { log, olderSteps = OLDER_STEPS }: { log: Log; olderSteps?: OlderSteps },
  run: (input: StepInput<S>, invocation: Invocation) => Promise<StepOutput<S>>,
): (event: unknown, context: Context) => Promise<unknown> {
  const contract = steps[step];
  const handler = async (event: unknown, context: Context) => {
    log.about({ step, request_id: context.awsRequestId, ...runIds(event) });
    try {
      const older = olderStep(step, event, olderSteps);
      const parsed = contract.input.safeParse(older ? older.read(event) : event);
      if (!parsed.success) throw new InvalidStepInput(problems(step, parsed.error), { cause: parsed.error });
      // Parsed by this very step's schema.
      const input = parsed.data as StepInput<S>;
      const answer = await run(input, { remainingMs: () => context.getRemainingTimeInMillis() });
      const output = contract.output.safeParse(answer);
      if (!output.success) throw new InvalidStepOutput(problems(step, output.error), { cause: output.error });
      log.info('step', { next: output.data.next });
      return older ? older.answer(output.data as StepOutput<S>, input) : output.data;
    } catch (error) {
      log.error('step failed', { error });
      throw error;
    }
  };
  return lambdaHandler(
    meteredHandler({ function: step, kind: 'step' }, handler, (event, { answer }) => ({
      batch_id: textOf(event, 'batchId'),
      next: textOf(answer, 'next') ?? 'failed',
    })),
  );
}

/**
 * The ids that every line of a step bears, of its input as it came: what is refused is to be found too. What does not
 * look like an id is left out.
 */
function runIds(event: unknown): Record<string, string | number | undefined> {
  const [batchId, projectId] = [idOf(event, 'batchId'), idOf(event, 'projectId')];
  const [attempt, notification, snapshot] = [
    numberOf(event, 'attempt'),
    numberOf(event, 'notification'),
    numberOf(event, 'snapshot'),
  ];
  const execution =
    batchId === undefined
      ? undefined
      : attempt !== undefined
        ? batchExecutionName(batchId, attempt)
        : notification !== undefined
          ? notificationExecutionName(batchId, notification)
          : snapshot !== undefined
            ? snapshotExecutionName(batchId, snapshot)
            : undefined;
  return {
    batch_id: batchId,
    project_id: projectId,
    // Of a child of the map its parent's: that is the one whose name tells anything.
    execution,
    attempt,
    shard: numberOf(fieldOf(event, 'shard'), 'shard'),
    turn: numberOf(event, 'turn'),
  };
}

const fieldOf = (value: unknown, field: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[field] : undefined;

/** A project's id may be any of these, and a batch's looks the same. */
function idOf(value: unknown, field: string): string | undefined {
  const text = textOf(value, field);
  return text !== undefined && PROJECT_ID.test(text) ? text : undefined;
}

function numberOf(value: unknown, field: string): number | undefined {
  const number = fieldOf(value, field);
  return typeof number === 'number' ? number : undefined;
}

/** A field of what came in or goes out, before or after it is parsed. */
function textOf(value: unknown, field: string): string | undefined {
  const text = fieldOf(value, field);
  return typeof text === 'string' ? text : undefined;
}

/** Undefined for the version of this code, and for what has no version: that is no step's input. */
function olderStep<S extends StepName>(step: S, event: unknown, olderSteps: OlderSteps): OlderStep<S> | undefined {
  const version = typeof event === 'object' && event !== null && 'version' in event ? event.version : undefined;
  if (typeof version !== 'number' || version === STEP_VERSION) return undefined;
  // The table's rows are by step.
  const older = olderSteps[version]?.[step] as OlderStep<S> | undefined;
  if (older) return older;
  throw new StepVersionUnknown(`${step} was given version ${version} of its contract, and knows ${STEP_VERSION}`);
}

const problems = (step: StepName, { issues }: z.ZodError) =>
  `${step}: ${issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ')}`;
