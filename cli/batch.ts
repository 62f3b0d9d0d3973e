import { randomUUID } from 'node:crypto';
import { basename } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { BatchWithErrorsView } from '../shared/contract/batchView.ts';
import { type BatchArguments, HELP, readArguments } from './batchArguments.ts';
import { downloadResults, makeFolder, type SavedFile } from './downloadResults.ts';
import { exitCodeOf, UsageError } from './exitCodes.ts';
import { uploadFile } from './fileTransfer.ts';
import { guessType, inputFileBytes } from './inputFile.ts';
import { onInterrupt } from './interruption.ts';
import { findLocalSystem, startLocalSystem } from './localSystem.ts';
import { formatSeconds } from './progress.ts';
import { startReceiver } from './receiver.ts';
import { runToEnd } from './runToEnd.ts';
import { localTarget, remoteTarget, startCommand, type Target } from './target.ts';
import { print, printable, say } from './terminal.ts';
import { waitForEnd } from './waiting.ts';
import { getBatch } from './watchBatch.ts';

// The first attempt of a notification follows the end within seconds; the next ones come after 5 s and 5 min.
const NOTIFICATION_WAIT_MS = 30_000;

type Connection = {
  target: Target;
  callbackUrl: string;
  /** Ours, on this machine; a deployed stage notifies somebody else's. */
  receiver?: Awaited<ReturnType<typeof startReceiver>>;
  close(): Promise<void>;
};

/** Where the batch runs: its client, how it is notified, and what to stop afterwards. */
async function connect({ target }: BatchArguments): Promise<Connection> {
  if ('api' in target)
    return { target: remoteTarget(target.api, target, target), callbackUrl: target.callback, close: async () => {} };
  const { data, modelArgs } = target;
  const running = await findLocalSystem(data);
  if (running && modelArgs.length > 0)
    throw new UsageError(
      `A local system already runs at ${running.url} with its own models. Stop it, or leave out the flags of the model.`,
    );
  say(running ? `Using the local system at ${running.url}` : 'Starting the local system …');
  const local = running ?? (await startLocalSystem(['--data', data, ...modelArgs]));
  if (!running) say(`Local system ready at ${local.url}`);
  const found = localTarget(local, { data });
  // Not the one that run.json names: it may have been rotated since the start.
  const { body: webhook } = await found.client.call('getWebhookSecret');
  const receiver = await startReceiver(webhook.secret);
  const whenLeft = `The local system stops with this command. The batch goes on after ${startCommand(data)}.`;
  return {
    target: running ? found : { ...found, whenLeft },
    callbackUrl: receiver.url,
    receiver,
    async close() {
      await receiver.close();
      await local.stop();
    },
  };
}

/** Says whether and how the receiver was told. A batch that has completed stays so if it could not be. */
async function checkNotification(connection: Connection, batch: BatchWithErrorsView): Promise<void> {
  if (connection.receiver) {
    const got = await connection.receiver.wait(NOTIFICATION_WAIT_MS);
    if (!got) say(`Notification: none within ${NOTIFICATION_WAIT_MS / 1000} s; it is tried again on its schedule`);
    else say(`Notification: ${got.event}, ${got.signatureHolds ? 'signature holds' : 'SIGNATURE DOES NOT HOLD'}`);
    return;
  }
  const until = performance.now() + NOTIFICATION_WAIT_MS;
  let latest = batch;
  while (latest.delivered_at === null && performance.now() < until) {
    await pause(connection.target.pollMs);
    latest = await getBatch(connection.target.client, batch.id);
  }
  const lastAnswer = latest.delivery?.last_status ?? latest.delivery?.last_error ?? 'none';
  say(
    latest.delivered_at !== null
      ? `Notification: delivered at ${latest.delivered_at}`
      : `Notification: not delivered yet (last answer: ${lastAnswer}); it is tried again on its schedule`,
  );
}

async function run(args: BatchArguments): Promise<void> {
  const bytes = await inputFileBytes(args.file);
  const type = args.type ?? (await guessType(args.file));
  await makeFolder(args.out);
  const connection = await connect(args);
  try {
    const { target } = connection;
    const startedAt = performance.now();
    onInterrupt(() => 'Stopped while uploading: no batch was made.');
    const input_file_url = await uploadFile(target.client, args.file, bytes);
    const { body: created } = await target.client.call('createBatch', {
      body: {
        name: args.name ?? basename(args.file),
        type,
        input_file_url,
        callback_url: connection.callbackUrl,
        completion_window: args.window,
        on_invalid_line: args.skipInvalid ? 'skip' : 'fail',
      },
      idempotencyKey: randomUUID(),
    });
    say(`Batch ${created.id} (${type})`);
    const batch = await waitForEnd(target, created.id);
    const seconds = (performance.now() - startedAt) / 1000;
    const saved = await downloadResults(target.client, batch.id, args.out);
    await checkNotification(connection, batch);
    report(batch, seconds, saved, args);
    process.exitCode = exitCodeOf(batch);
  } finally {
    await connection.close();
  }
}

function report(
  batch: BatchWithErrorsView,
  seconds: number,
  saved: SavedFile[],
  { skipInvalid }: BatchArguments,
): void {
  const { total, completed, failed } = batch.request_counts;
  say('');
  say(`${batch.status}: ${completed} of ${total} lines succeeded, ${failed} failed, in ${formatSeconds(seconds)}`);
  if (batch.usage) say(`Tokens: ${batch.usage.input_tokens} in, ${batch.usage.output_tokens} out`);
  for (const { code, line, message } of batch.errors.slice(0, 5))
    say(`  ${line === null ? '' : `line ${line}: `}${code}: ${printable(message)}`);
  if (batch.errors.length > 5) say(`  … and ${batch.errors.length - 5} more on the batch and in errors.jsonl`);
  for (const { path, lines } of saved) print(`${path} (${lines} ${lines === 1 ? 'line' : 'lines'})`);
  if (batch.status === 'failed' && failed > 0 && !skipInvalid)
    say('No line was run, since some are bad. Correct them, or run the others with --skip-invalid.');
}

await runToEnd(async () => {
  const args = readArguments(process.argv.slice(2));
  if (args === 'help') print(HELP);
  else await run(args);
});
