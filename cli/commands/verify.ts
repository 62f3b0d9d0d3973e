import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { ReceiptView } from '../../shared/contract/receiptView.ts';
import type { Check } from '../checks.ts';
import { PROGRAM, projectCommand } from '../command.ts';
import { getReceipt } from '../downloadResults.ts';
import { EXIT, UsageError } from '../exitCodes.ts';
import { inputFileBytes } from '../inputFile.ts';
import { findTarget, type TargetOptions } from '../target.ts';
import { print, printable, printJson, say, tableText } from '../terminal.ts';
import { verifyResults } from '../verifyResults.ts';
import { getBatch } from '../watchBatch.ts';

export function verifyCommand() {
  return projectCommand('verify', "Holds downloaded files against the batch's receipt, line by line.", [
    `${PROGRAM} verify batch_01J… --out results`,
    `${PROGRAM} verify batch_01J… --out results --input lines.jsonl`,
    `${PROGRAM} verify --receipt receipt.json --out results`,
  ])
    .argument('[id]', 'the batch; with --receipt it need not be named, and nothing is asked of the API')
    .option('--out <dir>', 'where output.jsonl and errors.jsonl are', 'results')
    .option('--receipt <file>', 'what receipt --json printed')
    .option('--input <file>', 'the input: each of its lines must be in one of the files, in its order')
    .option('--some-lines', 'with --receipt and --input, of a retry without --merge: not every line is in the files')
    .action(async (id, { out, receipt: receiptFile, input, someLines, json, ...where }) => {
      if (input !== undefined) await inputFileBytes(input);
      const { receipt, everyLine } =
        receiptFile === undefined
          ? await askReceipt(id, where)
          : { receipt: await readReceipt(receiptFile, id), everyLine: !someLines };
      const checks = await verifyResults({
        receipt,
        folder: out,
        everyLine,
        ...(input === undefined ? {} : { inputFile: input }),
      });
      const ok = checks.every((check) => check.ok);
      if (json) printJson({ batch_id: receipt.batch_id, ok, checks });
      else showChecks(checks);
      say(ok ? 'The files are what the receipt says.' : 'The files are NOT what the receipt says.');
      if (!ok) process.exitCode = EXIT.mismatch;
    });
}

async function askReceipt(id: string | undefined, where: TargetOptions) {
  if (id === undefined) throw new UsageError('Name the batch, or the file of its receipt: --receipt FILE.');
  const { client } = await findTarget(where, process.env);
  const [receipt, batch] = await Promise.all([getReceipt(client, id), getBatch(client, id)]);
  // Files of a retry may be of the lines that had failed alone, those of a batch that never ran of the bad ones.
  return { receipt, everyLine: batch.retry_of === null && batch.in_progress_at !== null };
}

async function readReceipt(path: string, id: string | undefined): Promise<ReceiptView> {
  try {
    const receipt = ReceiptView.parse(JSON.parse(await readFile(path, 'utf8')));
    if (id === undefined || receipt.batch_id === id) return receipt;
    throw new UsageError(`${path} is the receipt of ${receipt.batch_id}, not of ${id}.`);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : cause instanceof Error ? cause.message : cause;
    throw new UsageError(`${path} is no receipt: ${why}`, { cause });
  }
}

function showChecks(checks: readonly Check[]): void {
  print(
    tableText(
      [
        { head: 'CHECK', text: ({ check }) => check, maxCharacters: 60 },
        { head: 'EXPECTED', text: ({ expected }) => expected, maxCharacters: 20 },
        { head: 'FOUND', text: ({ found }) => found, maxCharacters: 20 },
        { head: '', text: ({ ok }) => (ok ? 'ok' : 'DIFFERS') },
      ],
      checks,
    ),
  );
  const differences = checks.flatMap((check) => check.differences);
  if (differences.length > 0) print(`\n${differences.map((each) => `  ${printable(each)}`).join('\n')}`);
}
