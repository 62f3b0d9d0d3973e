import { Command, InvalidArgumentError } from '@commander-js/extra-typings';
import { completionWindowMs } from '../shared/domain/completionWindow.ts';
import { EXIT_CODES_HELP } from './exitCodes.ts';
import { DEFAULT_DATA_DIR } from './target.ts';

export const PROGRAM = 'npm run cli --';

/** A command that says how it is called where it was called wrongly, and throws instead of ending the process. */
export function newCommand(name: string, summary: string, examples: readonly string[]) {
  return new Command(name)
    .description(summary)
    .exitOverride()
    .allowExcessArguments(false)
    .showHelpAfterError('Add --help to see how it is called.')
    .addHelpText('after', `\nExamples:\n${examples.map((text) => `  ${text}`).join('\n')}\n\n${EXIT_CODES_HELP}`);
}

/** One that calls the API. Its options say where that is. */
function apiCommand(name: string, summary: string, examples: readonly string[]) {
  return newCommand(name, summary, examples)
    .option('--json', 'one JSON document on stdout, and nothing else there')
    .option('--data <dir>', `data folder of the local system (default: ${DEFAULT_DATA_DIR})`)
    .option('--api <url>', 'a deployed stage instead of the local system (env: BATCH_API_URL)');
}

/** One that calls it as a project. */
export function projectCommand(name: string, summary: string, examples: readonly string[]) {
  return apiCommand(name, summary, examples).option(
    '--key <key>',
    "API key or token of the project; the local system's by default (env: BATCH_API_KEY)",
  );
}

/** One that calls it as the operator. */
export function operatorCommand(name: string, summary: string, examples: readonly string[]) {
  return apiCommand(name, summary, examples).option(
    '--operator-key <key>',
    "the operator's key; the local system's by default (env: BATCH_API_OPERATOR_KEY)",
  );
}

/** A whole number in range, as it was written: the API takes it as text. */
export function wholeNumber(min: number, max: number) {
  return (text: string): string => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return String(value);
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

export function completionWindow(text: string): string {
  if (completionWindowMs(text) !== undefined) return text;
  throw new InvalidArgumentError('It must be such as 30m, 24h or 7d: from 1 minute to 7 days.');
}

/** Collects `key=value` of an option that is given more than once. */
export function metadataPair(text: string, pairs: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be key=value.');
  return { ...pairs, [text.slice(0, at)]: text.slice(at + 1) };
}
