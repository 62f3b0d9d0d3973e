import { StateMachine, type StateMachineDefinition } from 'aws-local-stepfunctions';
import { checkFeatures } from './features.ts';

/**
 * Refuses a machine with what the local run does not understand, and one that is wrong in itself: transitions to
 * nowhere, states without end, malformed paths. The latter is the interpreter's own check and takes half a second of
 * CPU a machine, so that machines are checked once, when the stack is synthesized.
 */
export function checkMachine(definition: Record<string, unknown>, where: string): void {
  checkFeatures(definition, where);
  try {
    // ARNs are not looked at, since accounts and partitions of a local run need not exist.
    new StateMachine(definition as unknown as StateMachineDefinition, { validationOptions: { checkArn: false } });
  } catch (error) {
    throw new Error(`${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
