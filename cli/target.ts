import type { RunInfo } from '../shared/contract/runInfo.ts';
import { type ApiClient, createApiClient } from './apiClient.ts';
import { UsageError } from './exitCodes.ts';
import { findLocalSystem } from './localSystem.ts';

export const DEFAULT_DATA_DIR = '.local';

// A local batch is watched closely; a deployed stage is asked less often, since each look is a paid request.
const POLL_LOCAL_MS = 250;
const POLL_REMOTE_MS = 3_000;
/** While a batch is watched, a deployed stage may be out of reach for so long; a local system that stops is gone. */
const PATIENCE_REMOTE_MS = 5 * 60_000;

export type TargetOptions = {
  api?: string | undefined;
  key?: string | undefined;
  operatorKey?: string | undefined;
  data?: string | undefined;
};
export type Environment = Record<string, string | undefined>;

/** Where the command goes. */
export type Target = {
  client: ApiClient;
  /** The local system, where it is that. */
  local: RunInfo | undefined;
  pollMs: number;
  patienceMs: number;
  /** What becomes of a batch that is no longer watched. */
  whenLeft: string;
  /** How a further command is written that is to go to the same place. */
  command(rest: string): string;
};

/**
 * The stage that flags or the environment name, or else the local system that runs. A key in the environment belongs to
 * the URL that is named, so it does not go to a local system.
 */
export async function findTarget(options: TargetOptions, environment: Environment): Promise<Target> {
  const { data } = options;
  if (data !== undefined && options.api !== undefined)
    throw new UsageError('--data names a local system, --api a deployed stage: give one of them.');
  const url = options.api ?? (data === undefined ? environment.BATCH_API_URL : undefined);
  if (url !== undefined) {
    const keys = {
      key: options.key ?? environment.BATCH_API_KEY,
      operatorKey: options.operatorKey ?? environment.BATCH_API_OPERATOR_KEY,
    };
    return remoteTarget(url, keys, options);
  }
  const dataDir = data ?? DEFAULT_DATA_DIR;
  const local = await findLocalSystem(dataDir);
  if (!local)
    throw new Error(
      `No local system runs on the data folder ${dataDir}. Start it in another terminal:\n` +
        `  ${startCommand(dataDir)}\n` +
        'For a deployed stage give --api URL and --key KEY (or BATCH_API_URL and BATCH_API_KEY in the environment).',
    );
  return localTarget(local, options);
}

/** The local system on a data folder, with its own keys where no others are given. */
export function localTarget(local: RunInfo, { data = DEFAULT_DATA_DIR, key, operatorKey }: TargetOptions): Target {
  const flags = data === DEFAULT_DATA_DIR ? '' : ` --data ${quoted(data)}`;
  return {
    client: createApiClient({
      url: local.url,
      key: key ?? local.api_key,
      operatorKey: operatorKey ?? local.management_key,
    }),
    local,
    pollMs: POLL_LOCAL_MS,
    patienceMs: 0,
    whenLeft: 'The batch goes on.',
    command: (rest) => `npm run cli -- ${rest}${flags}`,
  };
}

/** How the local system is started on that folder. */
export function startCommand(dataDir: string): string {
  return dataDir === DEFAULT_DATA_DIR ? 'npm start' : `npm start -- --data ${quoted(dataDir)}`;
}

/** A deployed stage. Keys that came by flags are left out of what is printed. */
export function remoteTarget(api: string, given: TargetOptions, options: TargetOptions): Target {
  const { key, operatorKey } = given;
  const flags = [
    ...(options.api === undefined ? [] : [`--api ${quoted(options.api)}`]),
    ...(options.key === undefined ? [] : ['--key …']),
    ...(options.operatorKey === undefined ? [] : ['--operator-key …']),
  ];
  return {
    client: createApiClient({ url: checkedUrl(api), key, operatorKey }),
    local: undefined,
    pollMs: POLL_REMOTE_MS,
    patienceMs: PATIENCE_REMOTE_MS,
    whenLeft: 'The batch goes on.',
    command: (rest) => ['npm run cli --', rest, ...flags].join(' '),
  };
}

function checkedUrl(url: string): string {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`The API's URL is ${url}: it must be https://… (the stage's output ApiUrl).`);
  return url;
}

/** For pasting into a shell. */
export const quoted = (text: string) => (/^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
