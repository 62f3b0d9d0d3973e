import { PROGRAM, projectCommand } from '../command.ts';
import { EXIT } from '../exitCodes.ts';
import { findTarget } from '../target.ts';
import { say } from '../terminal.ts';
import { sayNext, showBatch, waitForEnd } from '../waiting.ts';

export function cancelCommand() {
  return projectCommand('cancel', 'Cancels a batch: results that are there are kept, what was not run says so.', [
    `${PROGRAM} cancel batch_01J…`,
    `${PROGRAM} cancel batch_01J… --wait`,
  ])
    .argument('<id>', 'the batch')
    .option('--wait', 'until it has ended; exit code 0 where it ended cancelled')
    .action(async (id, { wait, json, ...where }) => {
      const target = await findTarget(where, process.env);
      const { body: cancelling } = await target.client.call('cancelBatch', { params: { batch_id: id } });
      const batch = wait ? await waitForEnd(target, id, 'The batch is being cancelled all the same.') : cancelling;
      showBatch(batch, json);
      if (wait && batch.status !== 'cancelled') process.exitCode = EXIT.failure;
      if (json) return;
      if (batch.status === 'cancelling') say(`\nIt ends within moments: ${target.command(`get ${id} --watch`)}`);
      else sayNext(target, batch);
    });
}
