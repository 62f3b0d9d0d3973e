import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createControlStore } from '../../shared/adapters/dynamodb/controlStore.ts';
import { createOpenBatchStore } from '../../shared/adapters/dynamodb/openBatchStore.ts';
import { createShardStore } from '../../shared/adapters/dynamodb/shardStore.ts';
import { createSnapshotStore } from '../../shared/adapters/dynamodb/snapshotStore.ts';
import { createWebhookSecretStore } from '../../shared/adapters/dynamodb/webhookSecretStore.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { type Settings, SettingsSchema } from '../../shared/contract/settings.ts';
import type { BatchHead, BatchRef } from '../../shared/domain/batch.ts';
import { batchExecutionName, notificationExecutionName, snapshotExecutionName } from '../../shared/domain/ids.ts';
import type { Clock, ExecutionStatus, Ids, Log, Ports, Workflow } from '../../shared/ports.ts';
import { startDynalite } from './dynalite.ts';
import { startLocalS3 } from './localS3.ts';
import { aBatch } from './records.ts';

/** A workflow that starts nothing: it keeps names and statuses as Step Functions would. */
export type RecordingWorkflow = Workflow & {
  executions: Map<string, ExecutionStatus>;
  /** Makes calls fail, as Step Functions does when it is throttled. */
  broken: boolean;
};

export type BatchWorld = Pick<
  Ports,
  'batches' | 'openBatches' | 'shards' | 'controls' | 'snapshots' | 'webhookSecrets' | 'files' | 'ids'
> & {
  clock: Clock & { time: number };
  log: Log & { entries: { level: string; message: string }[] };
  workflow: RecordingWorkflow;
  settings: Settings;
  close(): Promise<void>;
};

/** The real stores on an in-memory table and a local bucket; time stands still unless the test moves it. */
export async function startBatchWorld(settings: Parameters<typeof SettingsSchema.parse>[0] = {}): Promise<BatchWorld> {
  const table = await startDynalite();
  const s3 = await startLocalS3();
  let ulids = 0;
  const ids: Ids = {
    ulid: () => String(ulids++).padStart(26, '0'),
    secretBytes: (count) => new Uint8Array(count).fill(7),
  };
  return {
    batches: createBatchStore(table),
    openBatches: createOpenBatchStore(table),
    shards: createShardStore(table),
    controls: createControlStore(table),
    snapshots: createSnapshotStore(table),
    webhookSecrets: createWebhookSecretStore(table),
    files: createFileStore({ client: s3.client, bucket: s3.bucket }),
    ids,
    clock: manualClock(),
    log: collectingLog(),
    workflow: recordingWorkflow(),
    settings: SettingsSchema.parse(settings),
    close: async () => {
      await Promise.all([table.close(), s3.close()]);
    },
  };
}

export function manualClock(): Clock & { time: number } {
  const clock = {
    // Near the real time, which signatures are checked against.
    time: Math.floor(Date.now() / 1000) * 1000,
    now: () => clock.time,
    sleep: async (ms: number) => {
      clock.time += ms;
    },
  };
  return clock;
}

function collectingLog(): Log & { entries: { level: string; message: string }[] } {
  const entries: { level: string; message: string }[] = [];
  const at = (level: string) => (message: string) => {
    entries.push({ level, message });
  };
  return {
    entries,
    about: () => undefined,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  };
}

function recordingWorkflow(): RecordingWorkflow {
  const executions = new Map<string, ExecutionStatus>();
  const start = (name: string): 'started' | 'already' => {
    if (workflow.broken) throw new Error('ThrottlingException');
    const status = executions.get(name);
    executions.set(name, status ?? 'running');
    return status === undefined || status === 'running' ? 'started' : 'already';
  };
  const workflow: RecordingWorkflow = {
    executions,
    broken: false,
    startBatch: async (ref, attempt) => start(batchExecutionName(ref.batchId, attempt)),
    startNotification: async (ref, number) => start(notificationExecutionName(ref.batchId, number)),
    describeBatch: async (batchId, attempt) => executions.get(batchExecutionName(batchId, attempt)) ?? 'not_found',
    startSnapshot: async (ref, number) => start(snapshotExecutionName(ref.batchId, number)),
    describeSnapshot: async (batchId, number) => executions.get(snapshotExecutionName(batchId, number)) ?? 'not_found',
    describeNotification: async (batchId, number) =>
      executions.get(notificationExecutionName(batchId, number)) ?? 'not_found',
    stopBatch: async (batchId, attempt) => {
      const name = batchExecutionName(batchId, attempt);
      if (executions.get(name) === 'running') executions.set(name, 'aborted');
    },
  };
  return workflow;
}

/** A batch as `POST /batches` leaves it. */
export async function createTestBatch(
  world: Pick<BatchWorld, 'batches' | 'clock' | 'ids'>,
  overrides: Partial<BatchHead> = {},
): Promise<BatchHead> {
  const batch = aBatch({
    projectId: 'project-a',
    batchId: `batch_${world.ids.ulid()}`,
    callbackUrl: 'http://127.0.0.1:1/hook',
    inputFileUrl: 'file://file_1',
    onInvalidLine: 'skip',
    createdAt: world.clock.now(),
    ...overrides,
  });
  await world.batches.create(batch);
  return batch.head;
}

export async function headOf(world: Pick<BatchWorld, 'batches'>, ref: BatchRef): Promise<BatchHead> {
  const head = await world.batches.get(ref);
  if (!head) throw new Error(`There is no batch ${ref.batchId}`);
  return head;
}
