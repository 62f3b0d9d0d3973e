import type { S3Client } from '@aws-sdk/client-s3';
import { createBatchStore } from '../../shared/adapters/dynamodb/batchStore.ts';
import { createControlStore } from '../../shared/adapters/dynamodb/controlStore.ts';
import { createUploadStore } from '../../shared/adapters/dynamodb/uploadStore.ts';
import { createInputSource } from '../../shared/adapters/net/inputSource.ts';
import { createFileStore } from '../../shared/adapters/s3/fileStore.ts';
import { systemClock } from '../../shared/adapters/system/clock.ts';
import { type Settings, SettingsSchema } from '../../shared/contract/settings.ts';
import type { BatchDetail, BatchHead, BatchRef } from '../../shared/domain/batch.ts';
import type { Control } from '../../shared/domain/control.ts';
import { LineReader } from '../../shared/domain/lines/lineReader.ts';
import { decodeSegmentLine } from '../../shared/domain/lines/segment.ts';
import { type ModelsFile, ModelsFileSchema } from '../../shared/domain/models.ts';
import { objectKeys } from '../../shared/domain/objectKeys.ts';
import { type ShardRange, ShardRangeSchema } from '../../shared/domain/shard.ts';
import type { Clock, Log, Ports } from '../../shared/ports.ts';
import { startDynalite } from './dynalite.ts';
import { startLocalS3 } from './localS3.ts';
import { aBatch } from './records.ts';

const silent: Log = { about() {}, debug() {}, info() {}, warn() {}, error() {} };

/** Real time, but pauses take next to none. */
const impatientClock: Clock = {
  now: () => Date.now(),
  sleep: (_ms, signal) => systemClock.sleep(20, signal),
};

/** Invocations of tests are out of time after a few kilobytes. */
const ANY_PACE = { minBytesPerSecond: 0 };

const models: ModelsFile = ModelsFileSchema.parse({
  providers: { local: { kind: 'simulator' } },
  models: {
    default: { provider: 'local', model: 'text', endpoints: ['chat/completions', 'completions', 'responses'] },
    embedding: { provider: 'local', model: 'vec', endpoints: ['embeddings'] },
  },
  agents: { '*': { model: 'default' } },
  vectors: { model: 'embedding' },
});

export type InputDeps = Pick<Ports, 'batches' | 'controls' | 'uploads' | 'files' | 'sources' | 'clock' | 'log'> & {
  settings: Settings;
  models: ModelsFile;
};

/** What Fetch and Validate run on: the real adapters on dynalite and the local S3. */
export async function startInputSteps() {
  const [table, s3] = await Promise.all([startDynalite(), startLocalS3()]);
  const deps: InputDeps = {
    batches: createBatchStore(table),
    controls: createControlStore(table),
    uploads: createUploadStore(table),
    files: createFileStore({ client: s3.client, bucket: s3.bucket }),
    sources: sourcesOf(s3.client, [s3.bucket]),
    clock: impatientClock,
    log: silent,
    settings: SettingsSchema.parse({ allowPrivateNetworks: true, fetch: ANY_PACE }),
    models,
  };

  return {
    deps,
    bucket: s3.bucket,
    /** The same with other settings. */
    with: (settings: Parameters<typeof SettingsSchema.parse>[0] & object): InputDeps => ({
      ...deps,
      settings: SettingsSchema.parse({ allowPrivateNetworks: true, fetch: ANY_PACE, ...settings }),
    }),
    async createBatch(head: Partial<BatchHead> = {}, control: Partial<Control> = {}): Promise<BatchHead> {
      const now = Date.now();
      const batch = aBatch({ createdAt: now, ...head }, { control });
      await deps.batches.create(batch);
      return batch.head;
    },
    /** A batch whose input has been fetched already. */
    async createFetched(text: string | Buffer, head: Partial<BatchHead> = {}): Promise<BatchHead> {
      const created = await this.createBatch(head);
      const key = objectKeys.input(created, 1);
      const { etag } = await deps.files.put(key, text);
      await deps.batches.setInput(created, 1, { key, bytes: Buffer.byteLength(text), etag });
      return created;
    },
    async putUpload(projectId: string, body: Buffer | string, announced = Buffer.byteLength(body)): Promise<string> {
      const fileId = `file_${Math.random().toString(36).slice(2)}`;
      const key = objectKeys.upload(projectId, fileId);
      const createdAt = Date.now();
      await deps.files.put(key, body);
      const contentType = 'application/jsonl';
      await deps.uploads.put({
        projectId,
        fileId,
        key,
        bytes: announced,
        contentType,
        createdAt,
        expiresAt: createdAt + 60_000,
      });
      return fileId;
    },
    async read(key: string): Promise<string> {
      return (await readBytes(deps, key)).toString('utf8');
    },
    async head(ref: BatchRef): Promise<BatchHead> {
      const head = await deps.batches.get(ref);
      if (!head) throw new Error('The batch is gone.');
      return head;
    },
    async detail({ batchId }: BatchRef): Promise<BatchDetail> {
      const detail = await deps.batches.getDetail(batchId);
      if (!detail) throw new Error('The batch has no detail.');
      return detail;
    },
    /** The shards of the batch's plan. */
    async shards(ref: BatchRef): Promise<ShardRange[]> {
      const { plan } = await this.head(ref);
      const text = await this.read(plan?.key ?? '');
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => ShardRangeSchema.parse(JSON.parse(line)));
    },
    /** The errors-file lines that Validate laid down. */
    async invalidLines(ref: BatchRef): Promise<ErrorsFileLine[]> {
      const { plan } = await this.head(ref);
      if (!plan?.invalid) return [];
      const reader = new LineReader({ maxLineBytes: 1_000_000 });
      return [...reader.push(await readBytes(deps, plan.invalid.key))].map(({ content }) => {
        if (content === 'too_long') throw new Error('A line of the segment is too long.');
        const { line, json } = decodeSegmentLine(content);
        const parsed = JSON.parse(Buffer.from(json).toString('utf8')) as ErrorsFileLine;
        if (parsed.line !== line) throw new Error('A line of the segment has another number inside.');
        return parsed;
      });
    },
    async close() {
      await Promise.all([table.close(), s3.close()]);
    },
  };
}

export type InputSteps = Awaited<ReturnType<typeof startInputSteps>>;

type ErrorsFileLine = {
  id: string;
  custom_id: string | null;
  line: number;
  response: null;
  error: { code: string; message: string };
  attempts: number;
};

async function readBytes({ files }: Pick<Ports, 'files'>, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await files.read(key)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function sourcesOf(s3Client: S3Client, inputBuckets: string[]): Ports['sources'] {
  return createInputSource({
    allowPrivateNetworks: true,
    inputBuckets,
    s3Client,
    idleTimeoutMs: 2_000,
    maxRedirects: 3,
    pausesMs: [],
  });
}
