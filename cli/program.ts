import { newCommand, PROGRAM } from './command.ts';
import { cancelCommand } from './commands/cancel.ts';
import { checkCommand } from './commands/check.ts';
import { createCommand } from './commands/create.ts';
import { downloadCommand } from './commands/download.ts';
import { getCommand } from './commands/get.ts';
import { keysCommand } from './commands/keys.ts';
import { listCommand } from './commands/list.ts';
import { receiptCommand } from './commands/receipt.ts';
import { retryCommand } from './commands/retry.ts';
import { uploadCommand } from './commands/upload.ts';
import { verifyCommand } from './commands/verify.ts';
import { webhookSecretCommand } from './commands/webhookSecret.ts';

/** `npm run cli`: the API from a shell. */
export function createProgram() {
  return newCommand(PROGRAM, 'Batches from the command line: of the local system, or of a deployed stage.', [
    `${PROGRAM} create examples/product-descriptions.jsonl --wait`,
    `${PROGRAM} list --status in_progress`,
    `${PROGRAM} download batch_01J… --out results`,
    `${PROGRAM} verify batch_01J… --out results --input examples/product-descriptions.jsonl`,
    `${PROGRAM} list --api https://… --key plai_…    (or BATCH_API_URL and BATCH_API_KEY in the environment)`,
    `npm run --silent cli -- list --json             (without npm's own lines on stdout)`,
  ])
    .addCommand(listCommand())
    .addCommand(getCommand())
    .addCommand(createCommand())
    .addCommand(uploadCommand())
    .addCommand(cancelCommand())
    .addCommand(retryCommand())
    .addCommand(downloadCommand())
    .addCommand(receiptCommand())
    .addCommand(verifyCommand())
    .addCommand(webhookSecretCommand())
    .addCommand(keysCommand())
    .addCommand(checkCommand());
}
