import { createHash } from 'node:crypto';
import type { ReceiptView } from '../shared/contract/receiptView.ts';
import { readLines } from '../shared/domain/lines/lineReader.ts';
import { type Check, Differences, equal, none } from './checks.ts';
import { unpacked } from './inputFile.ts';
import { MAX_LINE_BYTES, parseJson, type ResultLine } from './resultLines.ts';

export type InputAndResults = {
  inputFile: string;
  output: AsyncGenerator<ResultLine, void, undefined>;
  errors: AsyncGenerator<ResultLine, void, undefined>;
  everyLine: boolean;
  /** What the receipt has of the input; null where it was never read to its end. */
  expected: ReceiptView['input'];
};

/**
 * Goes through the input once, with both files beside it: the line that is next in one of them must be the input's next
 * line. A line of errors.jsonl is known by its number, one of output.jsonl by its `custom_id`.
 */
export async function followInput(options: InputAndResults): Promise<Check[]> {
  const { inputFile, everyLine, expected } = options;
  const differences = new Differences();
  const hash = createHash('sha256');
  let bytes = 0;
  async function* measured(): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of unpacked(inputFile)) {
      hash.update(chunk);
      bytes += chunk.length;
      yield chunk;
    }
  }
  const output = await headOf(options.output);
  const errors = await headOf(options.errors);
  for await (const { line, content } of readLines(measured(), { maxLineBytes: MAX_LINE_BYTES })) {
    const customId = content === 'too_long' ? undefined : customIdOf(content);
    const isFailed = errors.next?.line === line;
    const isDone = customId !== undefined && output.next?.customId === customId;
    if (isFailed) {
      const named = errors.next?.customId;
      if (named !== null && named !== customId)
        differences.add(`line ${line} of the input: errors.jsonl has ${named} for it, not ${customId}`);
      await errors.advance();
    } else if (isDone) await output.advance();
    else if (everyLine) differences.add(`line ${line} of the input (${customId ?? 'no custom_id'}): in neither file`);
  }
  for (const [name, head] of [
    ['output.jsonl', output],
    ['errors.jsonl', errors],
  ] as const) {
    const { place, customId } = head.next ?? {};
    if (place !== undefined)
      differences.add(`${name} line ${place} (${customId}): not in the input, or not at its place`);
    // What follows must have been read as well: its ids are looked at on the way.
    while (head.next) await head.advance();
  }
  const what = everyLine ? 'every line of the input in one file, in order' : 'lines of the input, in order';
  return [
    ...(expected
      ? [equal('input: bytes', expected.bytes, bytes), equal('input: SHA-256', expected.sha256, hash.digest('hex'))]
      : []),
    none(what, differences),
  ];
}

async function headOf(lines: AsyncGenerator<ResultLine, void, undefined>) {
  const head = {
    next: undefined as ResultLine | undefined,
    async advance() {
      const { value, done } = await lines.next();
      head.next = done ? undefined : value;
    },
  };
  await head.advance();
  return head;
}

function customIdOf(content: Buffer): string | undefined {
  const value = parseJson(content);
  if (typeof value !== 'object' || value === null || !('custom_id' in value)) return undefined;
  return typeof value.custom_id === 'string' ? value.custom_id : undefined;
}
