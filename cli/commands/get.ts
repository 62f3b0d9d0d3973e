import { PROGRAM, projectCommand } from '../command.ts';
import { exitCodeOf } from '../exitCodes.ts';
import { findTarget } from '../target.ts';
import { sayNext, showBatch, waitForEnd } from '../waiting.ts';
import { getBatch } from '../watchBatch.ts';

export function getCommand() {
  return projectCommand('get', 'One batch, with the first of its errors.', [
    `${PROGRAM} get batch_01J…`,
    `${PROGRAM} get batch_01J… --watch`,
    `npm run --silent cli -- get batch_01J… --json`,
  ])
    .argument('<id>', 'the batch')
    .option('--watch', 'shows its progress until it ends; the exit code says how it did')
    .action(async (id, { watch, json, ...where }) => {
      const target = await findTarget(where, process.env);
      const batch = watch ? await waitForEnd(target, id) : await getBatch(target.client, id);
      showBatch(batch, json);
      if (!json) sayNext(target, batch);
      if (watch) process.exitCode = exitCodeOf(batch);
    });
}
