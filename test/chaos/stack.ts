import { type Stack, startStack } from '../simulation/stack.ts';
import { loseAnswersOf } from './lostAnswers.ts';

/** A stack whose answers can be lost below its adapters. */
export async function startChaosStack(): Promise<Stack> {
  const stack = await startStack();
  loseAnswersOf(stack);
  return stack;
}
