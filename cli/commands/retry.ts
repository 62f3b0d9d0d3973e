import { randomUUID } from 'node:crypto';
import { completionWindow, PROGRAM, projectCommand } from '../command.ts';
import { exitCodeOf } from '../exitCodes.ts';
import { findTarget } from '../target.ts';
import { say } from '../terminal.ts';
import { sayNext, showBatch, waitForEnd } from '../waiting.ts';

export function retryCommand() {
  return projectCommand('retry', 'Makes a new batch of the lines of an ended one that failed.', [
    `${PROGRAM} retry batch_01J… --wait`,
    `${PROGRAM} retry batch_01J… --merge --window 2h`,
  ])
    .argument('<id>', 'the batch that has ended')
    .option('--merge', "the new batch's output holds the first one's results, too")
    .option('--callback <url>', "where the notification goes (default: the first batch's)")
    .option('--window <time>', "completion window (default: the first batch's)", completionWindow)
    .option('--idempotency-key <key>', 'a repeat with the same key finds the same batch')
    .option('--wait', 'shows its progress until it ends; the exit code says how it did')
    .action(async (id, { merge, callback, window, idempotencyKey, wait, json, ...where }) => {
      const target = await findTarget(where, process.env);
      const { body: created } = await target.client.call('retryBatch', {
        params: { batch_id: id },
        body: {
          ...(merge ? { merge } : {}),
          ...(callback === undefined ? {} : { callback_url: callback }),
          ...(window === undefined ? {} : { completion_window: window }),
        },
        idempotencyKey: idempotencyKey ?? randomUUID(),
      });
      say(`Batch ${created.id} repeats the failed lines of ${id}`);
      const batch = wait ? await waitForEnd(target, created.id) : created;
      showBatch(batch, json);
      if (wait) process.exitCode = exitCodeOf(batch);
      if (json) return;
      if (wait) sayNext(target, batch);
      else say(`\nWatch it: ${target.command(`get ${created.id} --watch`)}`);
    });
}
