import { join } from 'node:path';
import type { ReceiptView } from '../shared/contract/receiptView.ts';
import { SeenIds } from '../shared/domain/duplicateIds.ts';
import { type Check, Differences, equal, none } from './checks.ts';
import { RESULT_FILES } from './downloadResults.ts';
import { measureFile } from './measuredFile.ts';
import { type ResultLine, readResultLines } from './resultLines.ts';
import { followInput } from './verifyOrder.ts';

export type VerifyOptions = {
  receipt: ReceiptView;
  folder: string;
  inputFile?: string;
  /**
   * False where the files rightly hold only some of the input's lines: of a retry without merge, or of a batch that
   * ended while it was validated.
   */
  everyLine: boolean;
};

/** Holds downloaded files against the receipt, and, where the input is given, against that. Memory stays flat. */
export async function verifyResults({ receipt, folder, inputFile, everyLine }: VerifyOptions): Promise<Check[]> {
  const checks: Check[] = [];
  for (const { name, digest } of RESULT_FILES) {
    const lines = receipt[digest === 'output' ? 'completed' : 'failed'];
    checks.push(...(await checkFile(join(folder, name), name, receipt[digest], lines)));
  }
  const sum = receipt.completed + receipt.failed;
  checks.push(equal('receipt: lines = completed + failed', receipt.lines, sum));

  const differences = new Differences();
  const ids = new SeenIds();
  const [output, errors] = RESULT_FILES.map((file, index) =>
    uniqueLines(file.name, readResultLines(join(folder, file.name)), {
      batchId: receipt.batch_id,
      ids,
      differences,
      fileBit: index,
    }),
  );
  if (!output || !errors) throw new Error('A batch has two files');
  if (inputFile === undefined) {
    for (const lines of [output, errors]) for await (const line of lines) void line;
  } else checks.push(...(await followInput({ inputFile, output, errors, everyLine, expected: receipt.input })));
  checks.push(none("ids: this batch's, none twice", differences));
  return checks;
}

async function checkFile(path: string, name: string, expected: ReceiptView['output'], lines: number): Promise<Check[]> {
  const found = await measureFile(path);
  if (!expected) return [equal(`${name}: exists`, 'no', found ? 'yes' : 'no')];
  if (!found) return [equal(`${name}: exists`, 'yes', 'no')];
  return [
    equal(`${name}: bytes`, expected.bytes, found.bytes),
    equal(`${name}: SHA-256`, expected.sha256, found.sha256),
    equal(`${name}: lines`, lines, found.lines),
  ];
}

type Seen = { batchId: string; ids: SeenIds; differences: Differences; fileBit: number };

/** Hands the lines on and notes each whose id is not its own or came before. */
async function* uniqueLines(
  name: string,
  lines: AsyncIterable<ResultLine>,
  { batchId, ids, differences, fileBit }: Seen,
): AsyncGenerator<ResultLine, void, undefined> {
  for await (const line of lines) {
    const place = `${name} line ${line.place}`;
    if (line.problem !== undefined) differences.add(`${place}: ${line.problem}`);
    else if (line.id !== `${batchId}_${line.customId ?? `line-${line.line}`}`)
      differences.add(`${place}: its id ${line.id} is not of this batch and line`);
    else {
      // Both files in one number below 2^32; the lowest bit is the file.
      const tag = ids.add(line.id, line.place * RESULT_FILES.length + fileBit);
      if (tag !== undefined) {
        const first = RESULT_FILES[tag % RESULT_FILES.length]?.name;
        differences.add(`${place}: the id ${line.id} was in ${first} line ${Math.floor(tag / RESULT_FILES.length)}`);
      }
    }
    yield line;
  }
}
