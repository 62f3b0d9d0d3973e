import { Option } from '@commander-js/extra-typings';
import type { BatchView } from '../../shared/contract/batchView.ts';
import { BATCH_STATUSES } from '../../shared/domain/batchStatus.ts';
import { batchListText } from '../batchText.ts';
import { PROGRAM, projectCommand, wholeNumber } from '../command.ts';
import { findTarget } from '../target.ts';
import { print, printJson, say } from '../terminal.ts';

const MAX_TAKE = 100;

export function listCommand() {
  return projectCommand('list', "The project's batches, newest first.", [
    `${PROGRAM} list --status in_progress`,
    `${PROGRAM} list --take 20 --after batch_01J…`,
    `npm run --silent cli -- list --all --json > batches.json`,
  ])
    .addOption(new Option('--status <status>', 'only those').choices(BATCH_STATUSES))
    .option('--take <n>', `how many, up to ${MAX_TAKE}`, wholeNumber(1, MAX_TAKE), String(MAX_TAKE))
    .option('--after <id>', 'those that follow this batch')
    .addOption(new Option('--order <order>', 'by creation').choices(['asc', 'desc'] as const).default('desc' as const))
    .option('--all', 'all pages')
    .action(async ({ status, take, after, order, all, json, ...where }) => {
      const target = await findTarget(where, process.env);
      const batches: BatchView[] = [];
      let hasMore = true;
      for (let last = after; hasMore; last = batches.at(-1)?.id) {
        const { body } = await target.client.call('listBatches', { query: { status, take, order, after: last } });
        batches.push(...body.batches);
        hasMore = body.has_more;
        if (!all || body.batches.length === 0) break;
      }
      if (json) return printJson({ batches, has_more: hasMore });
      if (batches.length === 0) return say('There are no such batches.');
      print(batchListText(batches));
      const filter = `${status ? ` --status ${status}` : ''}${order === 'asc' ? ' --order asc' : ''} --take ${take}`;
      if (hasMore) say(`\nThere are more: ${target.command(`list${filter} --after ${batches.at(-1)?.id}`)}`);
    });
}
