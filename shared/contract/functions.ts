import type { RouteName } from './routes.ts';
import type { StepName } from './steps.ts';
import type { RecordKind } from './table.ts';

/**
 * The table of functions: what each one is given and may do. The stack makes them from it (file, variables, timeout,
 * memory, rights, nothing else), and a handler asks for the variables that stand here, so the two cannot drift apart.
 */

/** Every variable that a function can be given; `lambda/environment.ts` has the schema of each. */
export const VARIABLE_NAMES = [
  'SETTINGS',
  'SERVICE_VERSION',
  'TABLE_NAME',
  'BUCKET_NAME',
  'BATCH_MACHINE_ARN',
  'NOTIFICATION_MACHINE_ARN',
  'SNAPSHOT_MACHINE_ARN',
  'OPERATOR_KEY_SECRET_ARN',
  'MODEL_KEY_SECRETS',
] as const;
export type VariableName = (typeof VARIABLE_NAMES)[number];

/** Kinds of objects in the bucket: keys of `KEY_PREFIXES`. */
type FileKind = 'uploads' | 'inputs' | 'shards' | 'parts' | 'outputs' | 'snapshots';

export type TableWord = 'get' | 'batchGet' | 'query' | 'put' | 'update';

export type Rights = {
  /** By kind of record, the actions of the same names: GetItem, BatchGetItem, Query, PutItem, UpdateItem. */
  table?: { readonly [K in RecordKind]?: readonly TableWord[] };
  /** Indexes that it may query; `scan`: that it may read from end to end. */
  indexes?: readonly ('due' | 'list')[];
  scan?: readonly 'list'[];
  /**
   * By kind of object. `read`: GetObject (for a missing key S3 answers 404 only to who may list the bucket, else 403);
   * `write`: PutObject, and with `multipart` AbortMultipartUpload and ListMultipartUploadParts; `delete`: DeleteObject,
   * and ListBucket under the prefix.
   */
  files?: {
    read?: readonly FileKind[];
    write?: readonly FileKind[];
    delete?: readonly FileKind[];
    /** It writes files of a length that it does not know before. */
    multipart?: true;
  };
  /** GetObject on the buckets of the setting `inputBuckets`. */
  inputBuckets?: true;
  batchMachine?: readonly ('start' | 'describe' | 'stop')[];
  notificationMachine?: readonly ('start' | 'describe')[];
  snapshotMachine?: readonly ('start' | 'describe')[];
  /** GetSecretValue. */
  secrets?: readonly ('operatorKey' | 'modelKeys')[];
};

export type FunctionSpec = {
  timeoutSeconds: number;
  memoryMb: number;
  variables: readonly VariableName[];
  rights: Rights;
  /** The bundle has `models.json` beside it. */
  models?: true;
};

// HTTP API's integration limit is 30 s; 1 s is left to answer.
const HTTP = { timeoutSeconds: 29, memoryMb: 512 } as const;
// Lambda's longest.
const LONGEST_SECONDS = 900;

/** By file: `functions/<name>.ts`, which exports `handler`. */
export const functions = {
  'http/listBatches': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME'],
    rights: {
      table: { heads: ['batchGet', 'query'], batches: ['batchGet'], apiKeys: ['get'], quotas: ['update'] },
      indexes: ['list'],
    },
  },
  'http/createBatch': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'BATCH_MACHINE_ARN'],
    rights: {
      table: {
        heads: ['get', 'batchGet', 'put'],
        batches: ['get', 'put'],
        apiKeys: ['get'],
        quotas: ['get', 'update'],
        idempotency: ['get', 'put'],
        uploads: ['get'],
      },
      batchMachine: ['start'],
    },
  },
  'http/getBatch': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME'],
    rights: { table: { heads: ['get'], batches: ['get'], apiKeys: ['get'], quotas: ['update'] } },
  },
  'http/cancelBatch': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'BATCH_MACHINE_ARN'],
    rights: {
      table: { heads: ['get', 'update'], batches: ['get', 'update'], apiKeys: ['get'], quotas: ['update'] },
      batchMachine: ['start', 'describe', 'stop'],
    },
  },
  'http/retryBatch': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME', 'BATCH_MACHINE_ARN'],
    // It asks whether the first batch's input is still there.
    rights: {
      table: {
        heads: ['get', 'batchGet', 'put'],
        batches: ['get', 'put'],
        apiKeys: ['get'],
        quotas: ['get', 'update'],
        idempotency: ['get', 'put'],
      },
      files: { read: ['uploads', 'inputs'] },
      batchMachine: ['start'],
    },
  },
  'http/downloadBatch': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME', 'SNAPSHOT_MACHINE_ARN'],
    // A pre-signed URL can do what its signer may do, so the signer needs the read.
    rights: {
      table: { heads: ['get'], batches: ['get', 'update'], apiKeys: ['get'], quotas: ['update'] },
      files: { read: ['outputs', 'snapshots'] },
      snapshotMachine: ['start', 'describe'],
    },
  },
  'http/getReceipt': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME'],
    rights: { table: { heads: ['get'], batches: ['get'], apiKeys: ['get'], quotas: ['update'] } },
  },
  'http/createUpload': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME'],
    rights: { table: { apiKeys: ['get'], quotas: ['update'], uploads: ['put'] }, files: { write: ['uploads'] } },
  },
  'http/getWebhookSecret': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME'],
    rights: { table: { apiKeys: ['get'], quotas: ['update'], webhookSecrets: ['get', 'put'] } },
  },
  'http/rotateWebhookSecret': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME'],
    rights: { table: { apiKeys: ['get'], quotas: ['update'], webhookSecrets: ['get', 'put', 'update'] } },
  },
  'http/checkBatches': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'BATCH_MACHINE_ARN', 'NOTIFICATION_MACHINE_ARN', 'OPERATOR_KEY_SECRET_ARN'],
    rights: {
      table: { heads: ['get', 'update'], batches: ['get', 'query', 'update'] },
      indexes: ['due'],
      batchMachine: ['start', 'describe', 'stop'],
      notificationMachine: ['start', 'describe'],
      secrets: ['operatorKey'],
    },
  },
  'http/createKey': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'OPERATOR_KEY_SECRET_ARN'],
    rights: { table: { apiKeys: ['get', 'put'], apiKeyList: ['get', 'put'] }, secrets: ['operatorKey'] },
  },
  'http/listKeys': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'OPERATOR_KEY_SECRET_ARN'],
    rights: { table: { apiKeys: ['batchGet'], apiKeyList: ['query'] }, secrets: ['operatorKey'] },
  },
  'http/revokeKey': {
    ...HTTP,
    variables: ['SETTINGS', 'TABLE_NAME', 'OPERATOR_KEY_SECRET_ARN'],
    rights: { table: { apiKeys: ['get', 'update'], apiKeyList: ['get'] }, secrets: ['operatorKey'] },
  },
  'http/getHealth': { ...HTTP, variables: ['SETTINGS', 'SERVICE_VERSION'], rights: {} },
  'http/getOpenApi': { ...HTTP, variables: ['SETTINGS', 'SERVICE_VERSION'], rights: {} },
  'http/noRoute': { ...HTTP, variables: ['SETTINGS'], rights: {} },

  'workflow/fetchInput': {
    timeoutSeconds: LONGEST_SECONDS,
    memoryMb: 1024,
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME'],
    rights: {
      table: { heads: ['get', 'update'], batches: ['get', 'update'], uploads: ['get'] },
      files: { read: ['uploads', 'inputs', 'parts'], multipart: true, write: ['inputs', 'parts'], delete: ['inputs'] },
      inputBuckets: true,
    },
  },
  'workflow/validateInput': {
    timeoutSeconds: LONGEST_SECONDS,
    // 1,769 MB is one whole vCPU: the pass over 5 GB is bound by it.
    memoryMb: 1769,
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME'],
    rights: {
      table: { heads: ['get', 'update'], batches: ['get', 'update'] },
      files: {
        // A retry goes by the index that lies beside the files of the batch that it repeats.
        read: ['uploads', 'inputs', 'shards', 'parts', 'outputs'],
        multipart: true,
        write: ['shards', 'parts'],
      },
    },
    models: true,
  },
  'workflow/planShards': {
    timeoutSeconds: 300,
    memoryMb: 512,
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME'],
    // It looks whether the input is still the one that was validated.
    rights: {
      table: { heads: ['get', 'update'], batches: ['get', 'query'] },
      files: { read: ['shards', 'uploads', 'inputs'], multipart: true, write: ['shards'] },
    },
    models: true,
  },
  'workflow/runShard': {
    timeoutSeconds: LONGEST_SECONDS,
    memoryMb: 512,
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME', 'MODEL_KEY_SECRETS'],
    rights: {
      table: {
        heads: ['get', 'update'],
        batches: ['get', 'update'],
        circuits: ['get', 'update'],
        callShares: ['get', 'update'],
      },
      files: { read: ['uploads', 'inputs'], write: ['parts'], delete: ['parts'] },
      secrets: ['modelKeys'],
    },
    models: true,
  },
  'workflow/finalizeBatch': {
    timeoutSeconds: LONGEST_SECONDS,
    memoryMb: 1024,
    // Not the batch machine's ARN: that machine refers to this function, and CloudFormation takes no circles.
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME', 'NOTIFICATION_MACHINE_ARN'],
    rights: {
      table: { heads: ['get', 'update'], batches: ['get', 'query', 'update'] },
      files: {
        read: ['uploads', 'inputs', 'shards', 'parts', 'outputs'],
        multipart: true,
        write: ['outputs', 'parts'],
        delete: ['outputs', 'parts'],
      },
      notificationMachine: ['start'],
    },
  },
  'workflow/snapshotBatch': {
    timeoutSeconds: LONGEST_SECONDS,
    memoryMb: 1024,
    variables: ['SETTINGS', 'TABLE_NAME', 'BUCKET_NAME'],
    rights: {
      table: { heads: ['get'], batches: ['get', 'update'] },
      files: {
        read: ['shards', 'parts', 'snapshots', 'outputs'],
        multipart: true,
        write: ['snapshots'],
        delete: ['snapshots'],
      },
    },
  },
  'workflow/failBatch': {
    timeoutSeconds: 60,
    memoryMb: 256,
    variables: ['SETTINGS', 'TABLE_NAME'],
    rights: { table: { heads: ['get', 'update'], batches: ['get', 'query', 'update'] } },
  },
  'workflow/notifyReceiver': {
    timeoutSeconds: 60,
    memoryMb: 256,
    variables: ['SETTINGS', 'TABLE_NAME'],
    rights: { table: { heads: ['get', 'update'], webhookSecrets: ['get', 'put'] } },
  },
  'schedule/checkBatches': {
    timeoutSeconds: 60,
    memoryMb: 512,
    variables: ['SETTINGS', 'TABLE_NAME', 'BATCH_MACHINE_ARN', 'NOTIFICATION_MACHINE_ARN'],
    rights: {
      table: { heads: ['get', 'update'], batches: ['get', 'query', 'update'] },
      indexes: ['due'],
      batchMachine: ['start', 'describe', 'stop'],
      notificationMachine: ['start', 'describe'],
    },
  },
  'schedule/sweepBatches': {
    timeoutSeconds: LONGEST_SECONDS,
    memoryMb: 256,
    variables: ['SETTINGS', 'TABLE_NAME'],
    rights: { table: { heads: ['batchGet', 'update'] }, scan: ['list'] },
  },
} as const satisfies Record<
  `http/${RouteName | 'noRoute'}` | `workflow/${StepName}` | `schedule/${'checkBatches' | 'sweepBatches'}`,
  FunctionSpec
>;

export type FunctionName = keyof typeof functions;
/** The variables that a function is given. */
export type VariablesOf<F extends FunctionName> = (typeof functions)[F]['variables'][number];
