import { PROGRAM, projectCommand } from '../command.ts';
import { getReceipt } from '../downloadResults.ts';
import { findTarget } from '../target.ts';
import { bytesText, count, fieldsText, print, printJson } from '../terminal.ts';

export function receiptCommand() {
  return projectCommand('receipt', 'Counts, sizes and SHA-256 of what an ended batch read and wrote.', [
    `${PROGRAM} receipt batch_01J…`,
    `npm run --silent cli -- receipt batch_01J… --json > receipt.json`,
  ])
    .argument('<id>', 'the batch that has ended')
    .action(async (id, { json, ...where }) => {
      const { client } = await findTarget(where, process.env);
      const receipt = await getReceipt(client, id);
      if (json) return printJson(receipt);
      const digest = (file: (typeof receipt)['input']) =>
        file === null ? 'none' : `${file.sha256}  ${count(file.bytes)} bytes (${bytesText(file.bytes)})`;
      print(
        fieldsText([
          ['batch', receipt.batch_id],
          ['lines', `${count(receipt.lines)}: ${count(receipt.completed)} succeeded, ${count(receipt.failed)} failed`],
          ['input', digest(receipt.input)],
          ['output.jsonl', digest(receipt.output)],
          ['errors.jsonl', digest(receipt.errors)],
        ]),
      );
    });
}
