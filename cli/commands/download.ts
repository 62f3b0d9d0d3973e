import { PROGRAM, projectCommand, wholeNumber } from '../command.ts';
import { downloadPartial, downloadResults, type SavedFile } from '../downloadResults.ts';
import { onInterrupt } from '../interruption.ts';
import { findTarget, quoted, type Target } from '../target.ts';
import { bytesText, count, localTime, print, printJson, say, tableText } from '../terminal.ts';

// The snapshot of a batch with gigabytes of results takes minutes.
const PARTIAL_WAIT_SECONDS = 600;

export function downloadCommand() {
  return projectCommand('download', 'Downloads output.jsonl and errors.jsonl, and holds them against the receipt.', [
    `${PROGRAM} download batch_01J… --out results`,
    `${PROGRAM} download batch_01J… --out results --partial`,
  ])
    .argument('<id>', 'the batch')
    .option('--out <dir>', 'where the files go; earlier ones of these names are removed', 'results')
    .option('--partial', 'of a running batch what it has so far, as output.partial.jsonl and errors.partial.jsonl')
    .option(
      '--wait-seconds <n>',
      'with --partial: how long it may take until there is something',
      wholeNumber(0, 86_400),
      String(PARTIAL_WAIT_SECONDS),
    )
    .action(async (id, { out, partial, waitSeconds, json, ...where }) => {
      const target = await findTarget(where, process.env);
      onInterrupt(
        () => `Stopped. The download goes on where it was: ${target.command(`download ${id} --out ${quoted(out)}`)}`,
      );
      const { files, asOf } = partial
        ? await partialOrWhole(target, id, out, Number(waitSeconds) * 1000)
        : { files: await downloadResults(target.client, id, out), asOf: undefined };
      if (json) return printJson({ batch_id: id, files, ...(asOf === undefined ? {} : { as_of: asOf }) });
      if (files.length === 0) say(asOf === undefined ? 'The batch has no files.' : 'Nothing has a result yet.');
      else print(filesText(files));
      if (asOf !== undefined) say(`\nThe batch runs: this is what it had at ${localTime(asOf)}.`);
    });
}

async function partialOrWhole(
  target: Target,
  id: string,
  folder: string,
  maxWaitMs: number,
): Promise<{ files: SavedFile[]; asOf: string | null | undefined }> {
  const onWait = () => say('Waiting for the first snapshot …');
  const got = await downloadPartial(target.client, id, folder, { maxWaitMs, onWait });
  if (got) return got;
  say('The batch has ended: its files are whole.');
  return { files: await downloadResults(target.client, id, folder), asOf: undefined };
}

function filesText(files: readonly SavedFile[]): string {
  return tableText(
    [
      { head: 'FILE', text: ({ path }) => path, maxCharacters: 120 },
      { head: 'LINES', text: ({ lines }) => count(lines), align: 'right' },
      { head: 'SIZE', text: ({ bytes }) => bytesText(bytes), align: 'right' },
      { head: 'SHA-256', text: ({ sha256 }) => sha256, maxCharacters: 64 },
    ],
    files,
  );
}
