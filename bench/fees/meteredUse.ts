import type { MeteredLine } from '../../shared/contract/metered.ts';
import { addUse, type BilledUse, NO_USE } from './billedUse.ts';

/**
 * What the metered invocations are charged for together. Transitions follow from what the steps answered, since the
 * machines' states are few: so a deployed stage needs no more than its logs.
 */
export function billedUseOf(lines: Iterable<MeteredLine>): BilledUse {
  let use = NO_USE;
  for (const line of lines) {
    const { dynamodb, s3, secrets } = line;
    use = addUse(use, {
      stateTransitions: line.kind === 'step' ? transitionsOf(line) : 0,
      lambdaRequests: 1,
      lambdaGbSeconds: (((line.init_ms ?? 0) + line.duration_ms) / 1_000) * (line.memory_mb / 1_024),
      s3Puts: s3.puts,
      s3Gets: s3.gets,
      dynamoDbWriteUnits: dynamodb.write_units,
      dynamoDbReadUnits: dynamodb.read_units,
      apiRequests: line.kind === 'request' ? 1 : 0,
      secretRequests: secrets.requests,
    });
  }
  return use;
}

/**
 * Transitions that one invocation of a step brings about (`infra/constructs`): each step is a Task with a Choice behind
 * it; a wait is a state, the map is one, and so is the end.
 *
 * Charged is each state that is entered, each try of a Task again, and each child that the map starts
 * (https://docs.aws.amazon.com/step-functions/latest/dg/concepts-transitions.html). AWS's own examples also count the
 * way from the last state to the end: so do we, for each execution and child.
 */
export function transitionsOf({ function: step, next }: Pick<MeteredLine, 'function' | 'next'>): number {
  if (next === 'failed') return 1;
  const own = 2;
  if (next === 'wait' || next === 'settle' || next === 'process') return own + 1;
  if (next !== 'end' && next !== 'give_up') return own;
  return own + ENDING + (step === 'runShard' ? DISPATCH : 0);
}

/** The last state and the end itself. */
const ENDING = 2;
/** Of a child by the map. */
const DISPATCH = 1;
