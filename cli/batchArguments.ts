import { parseArgs } from 'node:util';
import { UsageError } from './exitCodes.ts';

export const HELP = `Runs one batch from a file to its results.

  npm run batch -- FILE [--out DIR] [options]

  --out DIR          where output.jsonl and errors.jsonl go (default: results)
  --type TYPE        COMPLETIONS or EMBEDDINGS (default: guessed from the lines)
  --name NAME        the batch's name (default: the file's)
  --window TIME      completion window: 30m, 24h, 7d (default: 24h)
  --skip-invalid     bad lines go to errors.jsonl and the others run (default: one bad line fails the batch,
                     and no line of it is run)
  --data DIR         data folder of the local system (default: .local)
  --model-url URL    an OpenAI-compatible server for the local system, with --model NAME and
                     --embedding-model NAME; its key is read from MODEL_API_KEY
  --api URL          a deployed stage instead of the local system, with --key KEY and --callback URL

Exit code: 0 every line succeeded, 2 some lines failed, 1 the batch did not complete (or could not be run),
64 the command was called wrongly, 130 stopped by Ctrl-C: the batch goes on, see npm run cli -- get --help`;

const options = {
  out: { type: 'string', default: 'results' },
  type: { type: 'string' },
  name: { type: 'string' },
  window: { type: 'string', default: '24h' },
  'skip-invalid': { type: 'boolean', default: false },
  data: { type: 'string', default: '.local' },
  'model-url': { type: 'string' },
  model: { type: 'string' },
  'embedding-model': { type: 'string' },
  api: { type: 'string' },
  key: { type: 'string' },
  callback: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

export type BatchArguments = {
  file: string;
  out: string;
  type: 'COMPLETIONS' | 'EMBEDDINGS' | undefined;
  name: string | undefined;
  window: string;
  skipInvalid: boolean;
  /** Where the batch runs: the local system with its data folder and flags, or a deployed stage. */
  target: { data: string; modelArgs: string[] } | { api: string; key: string; callback: string };
};

/** Reads the command's arguments; throws `UsageError` that says which one is wrong and what would be right. */
export function readArguments(argv: string[]): BatchArguments | 'help' {
  const { values, positionals } = parse(argv);
  if (values.help) return 'help';
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) throw new UsageError(`Name one input file.\n\n${HELP}`);
  const { type, name, window, out } = values;
  if (type !== undefined && type !== 'COMPLETIONS' && type !== 'EMBEDDINGS')
    throw new UsageError(`--type is COMPLETIONS or EMBEDDINGS, not ${type}.`);
  return { file, out, type, name, window, skipInvalid: values['skip-invalid'], target: readTarget(values) };
}

type Values = ReturnType<typeof parse>['values'];

function readTarget(values: Values): BatchArguments['target'] {
  const { api, key, callback } = values;
  if (api === undefined) {
    for (const name of ['key', 'callback'] as const)
      if (values[name] !== undefined) throw new UsageError(`--${name} goes with --api URL.`);
    const modelArgs = (['model-url', 'model', 'embedding-model'] as const).flatMap((name) => {
      const value = values[name];
      return value === undefined ? [] : [`--${name}`, value];
    });
    return { data: values.data, modelArgs };
  }
  if (key === undefined || callback === undefined)
    throw new UsageError('--api URL needs --key KEY and --callback URL (where the notification is to go).');
  return { api, key, callback };
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (cause) {
    // parseArgs throws a TypeError whose first sentence names the argument.
    const [problem] = cause instanceof Error ? cause.message.split('. ') : [String(cause)];
    throw new UsageError(`${problem}. See npm run batch -- --help`, { cause });
  }
}
