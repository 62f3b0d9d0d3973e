import { parseArgs } from 'node:util';
import { PROJECT_ID } from '../../shared/domain/ids.ts';

export const HELP = `Deletes all that is kept of a project: its batches with their records and files, uploads, API keys and
webhook secret. Without --yes it only counts.

  npm run delete-project -- --project ID --table NAME --bucket NAME [--region REGION] [--yes]
  npm run delete-project -- --project ID [--data DIR] [--yes]

  --project ID      the project
  --table NAME      of a deployed stack: its outputs TableName
  --bucket NAME     and BucketName; credentials and region are the AWS SDK's own
  --region REGION   of the stack (default: AWS_REGION)
  --data DIR        instead: the data folder of a local system that runs (default: .local)
  --yes             delete; there is no way back
  --include-open    also where batches have not ended: what their executions still write is found by a second run,
                    an hour later

Examples:
  npm run delete-project -- --project acme
  npm run delete-project -- --project acme --table batch-api-prod-Records… --bucket batch-api-prod-files… --yes

Exit code: 0 done (or counted), 2 refused because batches are open, 1 anything else.`;

/** The command cannot be run as it was given; the message says what would be right. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export type Arguments = {
  projectId: string;
  yes: boolean;
  includeOpen: boolean;
  target: { data: string } | { table: string; bucket: string; region: string | undefined };
};

const options = {
  project: { type: 'string' },
  table: { type: 'string' },
  bucket: { type: 'string' },
  region: { type: 'string' },
  data: { type: 'string' },
  yes: { type: 'boolean', default: false },
  'include-open': { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

export function readArguments(args: string[]): Arguments | 'help' {
  const values = parse(args);
  if (values.help) return 'help';
  const { project, yes, 'include-open': includeOpen } = values;
  if (project === undefined) throw new UsageError(`Name the project: --project ID.\n\n${HELP}`);
  // The id is a part of keys: anything else could reach into another project's.
  if (!PROJECT_ID.test(project)) throw new UsageError(`--project ${project} is not a project id.`);
  return { projectId: project, yes, includeOpen, target: readTarget(values) };
}

function readTarget({ table, bucket, region, data }: ReturnType<typeof parse>): Arguments['target'] {
  if (table === undefined && bucket === undefined) {
    if (region !== undefined) throw new UsageError('--region goes with --table NAME and --bucket NAME.');
    return { data: data ?? '.local' };
  }
  if (table === undefined || bucket === undefined)
    throw new UsageError('A deployed stack needs both: --table NAME and --bucket NAME, its outputs.');
  if (data !== undefined) throw new UsageError('--data is for a local system: leave it out, or --table and --bucket.');
  return { table, bucket, region };
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values;
  } catch (cause) {
    // parseArgs throws a TypeError whose first sentence names the argument.
    const [problem] = cause instanceof Error ? cause.message.split('. ') : [String(cause)];
    throw new UsageError(`${problem}. See npm run delete-project -- --help`, { cause });
  }
}
