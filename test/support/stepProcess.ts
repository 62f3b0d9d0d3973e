import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { bundleFunctions } from '../../infra/bundle.ts';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createShardStore } from '../../shared/adapters/dynamodb/shardStore.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { type FunctionSpec, functions } from '../../shared/contract/functions.ts';
import { SettingsSchema } from '../../shared/contract/settings.ts';
import type { StepInput, StepName, StepOutput } from '../../shared/contract/steps.ts';
import type { BatchHead } from '../../shared/domain/batch.ts';
import { readPlan } from '../../shared/usecases/readPlan.ts';
import { startDynalite } from './dynalite.ts';
import { LOCAL_S3, startLocalS3 } from './localS3.ts';
import { aBatch } from './records.ts';

const MIB = 1024 * 1024;

/** A function in a process of its own, as it is deployed: its bundle, and V8 with the heap that Lambda would give it. */
export type StepProcess<S extends StepName> = {
  /** Answers what the step answers; rejects with what it throws. */
  invoke(event: StepInput<S>): Promise<StepOutput<S>>;
  /** The most that the process had in memory so far: code, heap, buffers. In MiB. */
  readonly peakResidentMib: number;
  close(): Promise<void>;
};

type FromRunner = { answer: unknown; peakResidentBytes: number } | { error: string };

/** Their bundles have `models.json` beside them. */
const WITH_MODELS = ['validateInput', 'runShard'] as const;

/** Table and bucket in this process, steps of the batch machine in processes of their own. */
export async function startStepProcesses(models: Record<string, unknown>, settings: Record<string, unknown> = {}) {
  const [table, s3] = await Promise.all([startDynalite(), startLocalS3()]);
  const modelsDir = mkdtempSync(join(tmpdir(), 'batch-api-models-'));
  const modelsPath = join(modelsDir, 'models.json');
  writeFileSync(modelsPath, JSON.stringify(models));
  const names = ['fetchInput', 'validateInput', 'runShard', 'finalizeBatch'] as const;
  const folders = bundleFunctions(
    Object.fromEntries(names.map((name) => [name, `functions/workflow/${name}.ts`])),
    modelsPath,
    new Set(WITH_MODELS),
  );
  const stores = {
    batches: createBatchStore(table),
    shards: createShardStore(table),
    files: createFileStore({ client: s3.client, bucket: s3.bucket }),
  };
  const environment = {
    SETTINGS: JSON.stringify(SettingsSchema.parse({ allowPrivateNetworks: true, logLevel: 'WARN', ...settings })),
    TABLE_NAME: table.tableName,
    BUCKET_NAME: s3.bucket,
    NOTIFICATION_MACHINE_ARN: 'arn:aws:states:us-east-1:000000000000:stateMachine:none',
    MODEL_KEY_SECRETS: '{}',
    AWS_REGION: LOCAL_S3.region,
    AWS_ACCESS_KEY_ID: LOCAL_S3.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: LOCAL_S3.credentials.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
    AWS_ENDPOINT_URL_S3: s3.url,
  };
  const running = new Set<{ close(): Promise<void> }>();

  async function startStep<S extends (typeof names)[number]>(name: S): Promise<StepProcess<S>> {
    const { memoryMb, timeoutSeconds }: FunctionSpec = functions[`workflow/${name}`];
    const child = fork(
      new URL('./stepRunner.ts', import.meta.url),
      [join(folders[name] ?? '', 'index.mjs'), String(timeoutSeconds)],
      {
        env: { ...environment, AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(memoryMb) },
        // As Lambda's own runtime starts Node: a tenth for the young generation, the rest for the old.
        execArgv: [
          '--disable-warning=ExperimentalWarning',
          `--max-semi-space-size=${Math.floor(memoryMb / 20)}`,
          `--max-old-space-size=${Math.floor(memoryMb * 0.9)}`,
        ],
      },
    );
    let peakResidentMib = 0;
    const exit = once(child, 'exit');
    const nextMessage = async (): Promise<unknown> => {
      const abort = new AbortController();
      try {
        return await Promise.race([
          once(child, 'message', abort).then(([message]) => message as unknown),
          exit.then(([code, signal]) => Promise.reject(new Error(`${name} exited: ${code ?? signal}`))),
        ]);
      } finally {
        abort.abort();
      }
    };
    await nextMessage();
    const step: StepProcess<S> = {
      async invoke(event) {
        child.send(event);
        // Sent by stepRunner.ts.
        const message = (await nextMessage()) as FromRunner;
        if ('error' in message) throw new Error(message.error);
        peakResidentMib = message.peakResidentBytes / MIB;
        // The handler has parsed it by the step's contract.
        return message.answer as StepOutput<S>;
      },
      get peakResidentMib() {
        return peakResidentMib;
      },
      async close() {
        running.delete(step);
        child.kill();
        await exit;
      },
    };
    running.add(step);
    return step;
  }

  return {
    ...stores,
    /** What every step is given. */
    environment,
    startStep,
    /** A batch as it is created. It counts as announced, so that its end starts no other machine. */
    async createBatch(fields: Partial<BatchHead>): Promise<BatchHead> {
      const batch = aBatch({ createdAt: Date.now(), notification: 1, ...fields });
      await stores.batches.create(batch);
      return batch.head;
    },
    run: ({ projectId, batchId }: BatchHead) => ({ version: 1 as const, projectId, batchId, attempt: 1 }),
    async head(batch: BatchHead): Promise<BatchHead> {
      const head = await stores.batches.get(batch);
      if (!head) throw new Error(`There is no batch ${batch.batchId}`);
      return head;
    },
    async *shardsOf(batch: BatchHead) {
      const { plan } = await this.head(batch);
      if (plan) yield* readPlan(stores, plan);
    },
    async close() {
      for (const step of [...running]) await step.close();
      await Promise.all([table.close(), s3.close()]);
      // Those with models lie in a folder that was made for them; the others are the build's own, which is kept.
      const bundles = WITH_MODELS.map((name) => dirname(folders[name] ?? join(modelsDir, name)));
      for (const dir of [modelsDir, ...bundles]) rmSync(dir, { recursive: true, force: true });
    },
  };
}
