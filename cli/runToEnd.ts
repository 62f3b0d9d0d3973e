import { CommanderError } from '@commander-js/extra-typings';
import { EXIT, UsageError } from './exitCodes.ts';
import { endOnSignals } from './interruption.ts';
import { say } from './terminal.ts';

/** Runs a program, says why it could not be run to its end, and sets the exit code that tells so. */
export async function runToEnd(program: () => Promise<unknown>): Promise<void> {
  endOnSignals();
  try {
    await program();
  } catch (error) {
    if (error instanceof CommanderError) {
      // It has said what is wrong by itself, or shown the help that was asked for.
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    say(error instanceof Error ? error.message : String(error));
    process.exitCode = error instanceof UsageError ? EXIT.usage : EXIT.failure;
  }
}
