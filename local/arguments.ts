import { parseArgs } from 'node:util';
import { StartError } from './dataFolder.ts';
import type { ModelServer } from './models.ts';

export const DEFAULT_PORT = 4010;
export const DEFAULT_DATA_DIR = '.local';

export const USAGE = `npm start -- [flags]

Starts the whole system on this machine.

  --port N                port of the API (default ${DEFAULT_PORT}; 0: any free one)
  --data DIR              data folder (default ${DEFAULT_DATA_DIR}); the same folder carries on where it ended
  --reset                 empties the data folder first
  --model-url URL         an OpenAI-compatible server, such as http://127.0.0.1:11434/v1,
                          instead of the simulated models; its key is read from MODEL_API_KEY
  --model NAME            its text model
  --embedding-model NAME  its embedding model
  --json                  prints one line of JSON when ready, and nothing else, to stdout
  --help                  this text
`;

export type Arguments = {
  port: number;
  dataDir: string;
  reset: boolean;
  json: boolean;
  help: boolean;
  modelServer: ModelServer | undefined;
};

/** Reads the command line; throws `StartError` for what it does not know. */
export function readArguments(args: string[]): Arguments {
  const values = parse(args);
  const port = Number(values.port);
  if (!/^\d+$/.test(values.port) || port > 65_535) {
    throw new StartError(`--port ${values.port} is not a port: it takes a whole number from 0 to 65535`);
  }
  if (values.data === '') throw new StartError('--data needs the name of a folder');
  const { 'model-url': url, model, 'embedding-model': embeddingModel } = values;
  if (url === undefined && (model !== undefined || embeddingModel !== undefined)) {
    throw new StartError('--model and --embedding-model name models of a server: they need --model-url URL');
  }
  return {
    port,
    dataDir: values.data,
    reset: values.reset,
    json: values.json,
    help: values.help,
    modelServer: url === undefined ? undefined : { url, model, embeddingModel },
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      strict: true,
      allowPositionals: false,
      options: {
        port: { type: 'string', default: String(DEFAULT_PORT) },
        data: { type: 'string', default: DEFAULT_DATA_DIR },
        reset: { type: 'boolean', default: false },
        'model-url': { type: 'string' },
        model: { type: 'string' },
        'embedding-model': { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false, short: 'h' },
      },
    }).values;
  } catch (cause) {
    // parseArgs throws a TypeError whose message names the argument.
    if (!(cause instanceof TypeError)) throw cause;
    throw new StartError(`${cause.message.split('. ')[0]}. See npm start -- --help`, { cause });
  }
}
