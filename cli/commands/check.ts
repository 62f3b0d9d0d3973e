import type { CheckView } from '../../shared/contract/checkView.ts';
import { operatorCommand, PROGRAM } from '../command.ts';
import { findTarget } from '../target.ts';
import { count, fieldsText, print, printJson, say, tableText } from '../terminal.ts';

const COUNTS = ['checked', 'expired', 'recovered', 'failed', 'notified', 'unchanged'] as const;

export function checkCommand() {
  return operatorCommand(
    'check',
    'Looks at every batch that is due and moves it on, as the schedule does each minute.',
    [`${PROGRAM} check`, `${PROGRAM} check --all`],
  )
    .option('--all', 'goes on until nothing more is due (a call looks for at most 20 seconds)')
    .action(async ({ all, json, ...where }) => {
      const { client, command } = await findTarget(where, process.env);
      let { body: sum } = await client.call('checkBatches');
      let looked = sum.checked;
      // A call that looked at nothing would be followed by others like it.
      while (all && sum.has_more && looked > 0) {
        if (!json) say(`${count(sum.checked)} looked at …`);
        const { body } = await client.call('checkBatches');
        looked = body.checked;
        sum = added(sum, body);
      }
      if (json) return printJson(sum);
      print(fieldsText(COUNTS.map((name) => [name, count(sum[name])] as const)));
      if (sum.batches.length > 0) print(`\n${movedText(sum.batches)}`);
      if (sum.has_more) say(`\nMore are due: ${command('check --all')}`);
    });
}

function added(sum: CheckView, next: CheckView): CheckView {
  const counts = Object.fromEntries(COUNTS.map((name) => [name, sum[name] + next[name]]));
  return { ...next, ...counts, batches: [...sum.batches, ...next.batches] };
}

function movedText(batches: CheckView['batches']): string {
  return tableText(
    [
      { head: 'ID', text: ({ id }) => id },
      { head: 'FROM', text: ({ from }) => from },
      { head: 'TO', text: ({ to }) => to },
      { head: 'WHY', text: ({ reason }) => reason, maxCharacters: 100 },
    ],
    batches,
  );
}
