import { randomUUID } from 'node:crypto';
import { basename } from 'node:path';
import { Option } from '@commander-js/extra-typings';
import { BATCH_TYPES, type BatchType } from '../../shared/domain/batch.ts';
import { completionWindow, metadataPair, PROGRAM, projectCommand } from '../command.ts';
import { exitCodeOf, UsageError } from '../exitCodes.ts';
import { uploadFile } from '../fileTransfer.ts';
import { guessType, inputFileBytes } from '../inputFile.ts';
import { onInterrupt } from '../interruption.ts';
import { findTarget, type Target } from '../target.ts';
import { bytesText, say } from '../terminal.ts';
import { sayNext, showBatch, waitForEnd } from '../waiting.ts';

export function createCommand() {
  return projectCommand('create', 'Makes a batch of a file here (which is uploaded) or of a URL.', [
    `${PROGRAM} create examples/product-descriptions.jsonl --wait`,
    `${PROGRAM} create --input-url https://…/lines.jsonl --type COMPLETIONS --window 2h`,
    `${PROGRAM} create lines.jsonl --api URL --key KEY --callback https://…/hook --metadata team=search`,
  ])
    .argument('[file]', 'JSONL file, plain or gzip')
    .option('--input-url <url>', 'https://…, s3://bucket/key or file://file_… (see upload) instead of a file')
    .addOption(new Option('--type <type>', 'guessed from the lines of a file').choices(BATCH_TYPES))
    .option('--name <name>', "its name (default: the file's)")
    .option('--description <text>', 'what it is for')
    .option('--callback <url>', "where the notification goes (default: the local system's demo receiver)")
    .option('--window <time>', 'completion window: 30m, 24h, 7d (default: 24h)', completionWindow)
    .option('--skip-invalid', 'bad lines go to errors.jsonl and the others run; else one bad line fails the batch')
    .option('--metadata <key=value>', 'kept with it; may be given again', metadataPair)
    .option(
      '--idempotency-key <key>',
      'a repeat with the same key finds the same batch. Each upload has a URL of its own, so a repeat that is to ' +
        'match names the same --input-url',
    )
    .option('--wait', 'shows its progress until it ends; the exit code says how it did')
    .action(async (file, { inputUrl, type, wait, json, ...options }) => {
      const input = await readInput(file, inputUrl, type);
      const target = await findTarget(options, process.env);
      const callback = options.callback ?? target.local?.demo_receiver_url;
      if (callback === undefined)
        throw new UsageError('A deployed stage needs --callback URL: where the notification is to go.');
      const url = await inputUrlOf(target, input);
      onInterrupt(() => `Stopped while the batch was made. Whether it was: ${target.command('list --take 1')}`);
      const { body: created } = await target.client.call('createBatch', {
        body: {
          name: options.name ?? input.name,
          type: input.type,
          input_file_url: url,
          callback_url: callback,
          ...(options.description === undefined ? {} : { description: options.description }),
          ...(options.window === undefined ? {} : { completion_window: options.window }),
          ...(options.metadata === undefined ? {} : { metadata: options.metadata }),
          on_invalid_line: options.skipInvalid ? 'skip' : 'fail',
        },
        idempotencyKey: options.idempotencyKey ?? randomUUID(),
      });
      if (!wait) {
        showBatch(created, json);
        if (!json) say(`\nWatch it: ${target.command(`get ${created.id} --watch`)}`);
        return;
      }
      say(`Batch ${created.id} (${input.type})`);
      const batch = await waitForEnd(target, created.id);
      showBatch(batch, json);
      if (!json) sayNext(target, batch);
      process.exitCode = exitCodeOf(batch);
    });
}

type Input = { type: BatchType; name: string } & ({ file: string; bytes: number } | { url: string });

async function readInput(
  file: string | undefined,
  url: string | undefined,
  type: BatchType | undefined,
): Promise<Input> {
  if (file !== undefined && url === undefined) {
    const bytes = await inputFileBytes(file);
    return { file, bytes, type: type ?? (await guessType(file)), name: basename(file) };
  }
  if (file !== undefined || url === undefined) throw new UsageError('Name one input: a file, or --input-url URL.');
  if (type === undefined) throw new UsageError(`--input-url needs --type ${BATCH_TYPES.join(' or ')}.`);
  return { url, type, name: 'Batch' };
}

async function inputUrlOf(target: Target, input: Input): Promise<string> {
  if ('url' in input) return input.url;
  onInterrupt(() => 'Stopped while uploading: no batch was made.');
  say(`Uploading ${input.file} (${bytesText(input.bytes)})`);
  return await uploadFile(target.client, input.file, input.bytes);
}
