import type { StepInput, StepName, StepOutput } from './steps.ts';

/**
 * Executions that were started before a deploy keep their machine's old definition and meet the new code. What a version
 * of the contracts looks like is frozen in `test/contract/stepVersions/<version>.json`: a change of a contract without a
 * new `STEP_VERSION` fails there. Who raises it either says here how the version before is read and answered, so that
 * its executions go on, or leaves it out: then they end as `StepVersionUnknown`, and the check starts the next attempt
 * under the new definition, which does not count against the batch.
 */

/** One step as an older definition knows it. */
export type OlderStep<S extends StepName = StepName> = {
  /** What the old execution gives, made into what the step takes now. It is parsed by the step's contract after this. */
  read(input: unknown): unknown;
  /** The answer in the shape of the old version: its Choices look at that, and its next step is given it. */
  answer(output: StepOutput<S>, input: StepInput<S>): unknown;
};

/** By version, then by step. */
export type OlderSteps = Readonly<Record<number, { readonly [S in StepName]?: OlderStep<S> }>>;

/** Version 1 is the first. */
export const OLDER_STEPS: OlderSteps = {};

/** The error of a step that was given a version which this code does not know; the check tells it by this name. */
export const STEP_VERSION_UNKNOWN = 'StepVersionUnknown';
