import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  type ApiClient,
  ApiRefusal,
  type Batch,
  createApiClient,
  downloadFile,
  hasEnded,
  putFile,
} from './apiClient.ts';
import { type BatchArguments, HELP, readArguments } from './batchArguments.ts';
import { guessType, inputFileBytes, UsageError } from './inputFile.ts';
import { findLocalSystem, startLocalSystem } from './localSystem.ts';
import { createProgress, formatSeconds } from './progress.ts';
import { startReceiver } from './receiver.ts';

// A local batch is watched closely; a deployed stage is asked less often, since each look is a paid request.
const POLL_LOCAL_MS = 250;
const POLL_REMOTE_MS = 3_000;
// The first attempt of a notification follows the end within seconds; the next ones come after 5 s and 5 min.
const NOTIFICATION_WAIT_MS = 30_000;

const say = (line: string) => process.stderr.write(`${line}\n`);
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

type Connection = {
  client: ApiClient;
  callbackUrl: string;
  /** Ours, on this machine; a deployed stage notifies somebody else's. */
  receiver?: Awaited<ReturnType<typeof startReceiver>>;
  pollMs: number;
  close(): Promise<void>;
};

/** Where the batch runs: its client, how it is notified, and what to stop afterwards. */
async function connect({ target }: BatchArguments): Promise<Connection> {
  if ('api' in target) {
    const client = createApiClient({ url: target.api, key: target.key });
    return { client, callbackUrl: target.callback, pollMs: POLL_REMOTE_MS, close: async () => {} };
  }
  const running = await findLocalSystem(target.data);
  if (running && target.modelArgs.length > 0)
    throw new UsageError(
      `A local system already runs at ${running.url} with its own models. Stop it, or leave out the flags of the model.`,
    );
  say(running ? `Using the local system at ${running.url}` : 'Starting the local system …');
  const local = running ?? (await startLocalSystem(['--data', target.data, ...target.modelArgs]));
  if (!running) say(`Local system ready at ${local.url}`);
  const receiver = await startReceiver(local.webhook_secret);
  return {
    client: createApiClient({ url: local.url, key: local.api_key }),
    callbackUrl: receiver.url,
    receiver,
    pollMs: POLL_LOCAL_MS,
    async close() {
      await receiver.close();
      await local.stop();
    },
  };
}

async function watch(client: ApiClient, id: string, pollMs: number): Promise<Batch> {
  const progress = createProgress(process.stderr.isTTY === true, say);
  try {
    for (;;) {
      const batch = await client.getBatch(id);
      const { total, completed, failed } = batch.request_counts;
      progress.show({ status: batch.status, done: completed + failed, failed, total });
      if (hasEnded(batch)) return batch;
      await pause(pollMs);
    }
  } finally {
    progress.stop();
  }
}

/** Downloads both files and holds their lines against the batch's counts. */
async function download(client: ApiClient, batch: Batch, folder: string): Promise<string[]> {
  const urls = await client.getDownload(batch.id);
  const wanted = [
    ['output.jsonl', urls.output_file_url, batch.request_counts.completed],
    ['errors.jsonl', urls.errors_file_url, batch.request_counts.failed],
  ] as const;
  const saved: string[] = [];
  for (const [name, url, lines] of wanted) {
    const path = join(folder, name);
    // A file of an earlier run beside this run's would be taken for its result.
    await rm(path, { force: true });
    if (url === null) continue;
    const got = await downloadFile(url, path);
    if (batch.status !== 'failed' && got !== lines)
      throw new Error(`${path} has ${got} lines where the batch counts ${lines}. Download it again.`);
    saved.push(`${path} (${got} ${got === 1 ? 'line' : 'lines'})`);
  }
  return saved;
}

/** Says whether and how the receiver was told. A batch that has completed stays so if it could not be. */
async function checkNotification(connection: Connection, batch: Batch): Promise<void> {
  if (connection.receiver) {
    const got = await connection.receiver.wait(NOTIFICATION_WAIT_MS);
    if (!got) say(`Notification: none within ${NOTIFICATION_WAIT_MS / 1000} s; it is tried again on its schedule`);
    else say(`Notification: ${got.event}, ${got.signatureHolds ? 'signature holds' : 'SIGNATURE DOES NOT HOLD'}`);
    return;
  }
  const until = performance.now() + NOTIFICATION_WAIT_MS;
  let latest = batch;
  while (latest.delivered_at === null && performance.now() < until) {
    await pause(connection.pollMs);
    latest = await connection.client.getBatch(batch.id);
  }
  const lastAnswer = latest.delivery?.last_status ?? latest.delivery?.last_error ?? 'none';
  say(
    latest.delivered_at !== null
      ? `Notification: delivered at ${latest.delivered_at}`
      : `Notification: not delivered yet (last answer: ${lastAnswer}); it is tried again on its schedule`,
  );
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (cause) {
    throw new UsageError(`--out ${path} cannot be made: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

async function run(args: BatchArguments): Promise<number> {
  const bytes = await inputFileBytes(args.file);
  const type = args.type ?? (await guessType(args.file));
  await makeFolder(args.out);
  const connection = await connect(args);
  try {
    const { client } = connection;
    const startedAt = performance.now();
    const upload = await client.createUpload(bytes);
    await putFile(upload.upload_url, args.file, bytes);
    const created = await client.createBatch(
      {
        name: args.name ?? basename(args.file),
        type,
        input_file_url: upload.input_file_url,
        callback_url: connection.callbackUrl,
        completion_window: args.window,
        on_invalid_line: args.skipInvalid ? 'skip' : 'fail',
      },
      randomUUID(),
    );
    say(`Batch ${created.id} (${type})`);
    const batch = await watch(client, created.id, connection.pollMs);
    const seconds = (performance.now() - startedAt) / 1000;
    const saved = await download(client, batch, args.out);
    await checkNotification(connection, batch);

    const { total, completed, failed } = batch.request_counts;
    say('');
    say(`${batch.status}: ${completed} of ${total} lines succeeded, ${failed} failed, in ${formatSeconds(seconds)}`);
    if (batch.usage) say(`Tokens: ${batch.usage.input_tokens} in, ${batch.usage.output_tokens} out`);
    for (const { code, line, message } of batch.errors.slice(0, 5))
      say(`  ${line === null ? '' : `line ${line}: `}${code}: ${message}`);
    if (batch.errors.length > 5) say(`  … and ${batch.errors.length - 5} more on the batch and in errors.jsonl`);
    for (const file of saved) process.stdout.write(`${file}\n`);
    if (batch.status === 'failed' && failed > 0 && !args.skipInvalid)
      say('No line was run, since some are bad. Correct them, or run the others with --skip-invalid.');
    if (batch.status !== 'completed') return 1;
    return failed > 0 ? 2 : 0;
  } finally {
    await connection.close();
  }
}

async function main(): Promise<number> {
  const args = readArguments(process.argv.slice(2));
  if (args !== 'help') return await run(args);
  process.stdout.write(`${HELP}\n`);
  return 0;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    say('\nStopped watching. The batch goes on where it runs; a local one when the local system is started again.');
    process.exit(1);
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  const known = error instanceof UsageError || error instanceof ApiRefusal;
  say(
    known ? error.message : `The batch could not be run to its end: ${error instanceof Error ? error.message : error}`,
  );
  process.exitCode = 1;
}
