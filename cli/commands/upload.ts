import { PROGRAM, projectCommand } from '../command.ts';
import { uploadFile } from '../fileTransfer.ts';
import { inputFileBytes } from '../inputFile.ts';
import { findTarget } from '../target.ts';
import { print, printJson } from '../terminal.ts';

export function uploadCommand() {
  return projectCommand(
    'upload',
    'Uploads an input file and prints its URL, which create --input-url takes for 7 days.',
    [`${PROGRAM} upload lines.jsonl`, `URL=$(npm run --silent cli -- upload lines.jsonl)`],
  )
    .argument('<file>', 'JSONL file, plain or gzip')
    .action(async (file, { json, ...where }) => {
      const bytes = await inputFileBytes(file);
      const { client } = await findTarget(where, process.env);
      const url = await uploadFile(client, file, bytes);
      if (json) printJson({ input_file_url: url });
      else print(url);
    });
}
