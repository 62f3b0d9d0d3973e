import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type VerifyOptions, verifyResults } from '../../cli/verifyResults.ts';
import type { ReceiptView } from '../../shared/contract/receiptView.ts';
import { errorLine, outputLine } from '../../shared/domain/lines/resultLine.ts';

const BATCH = 'batch_1';
const request = (customId: string) => JSON.stringify({ custom_id: customId, method: 'POST', url: '/x', body: {} });
const good = (line: number, customId: string) => outputLine(BATCH, { line, customId }, 200, '{}');
const bad = (line: number, customId: string | null) =>
  errorLine(BATCH, { line, customId, error: { code: 'model_error', message: 'no' }, attempts: 1 });

// Line 2 is blank, line 4 no JSON, line 6 repeats the id of line 1.
const INPUT = `\ufeff${request('a')}\r\n\n${request('b')}\n{oops\n${request('c')}\n${request('a')}`;
const OUTPUT = [good(1, 'a'), good(5, 'c')];
const ERRORS = [bad(3, 'b'), bad(4, null), bad(6, null)];

const textOf = (lines: string[]) => lines.map((line) => `${line}\n`).join('');
const digest = (text: string | Buffer) => ({
  bytes: Buffer.byteLength(text),
  sha256: createHash('sha256').update(text).digest('hex'),
});

type World = { input?: string | Buffer; output?: string[]; errors?: string[]; receipt?: Partial<ReceiptView> };

/** Files and a receipt that fits them, but for what `receipt` says. Answers the checks that do not hold. */
async function failing({ input, output = OUTPUT, errors = ERRORS, receipt }: World, everyLine = true) {
  const folder = mkdtempSync(join(tmpdir(), 'batch-api-verify-'));
  const inputFile = join(folder, 'in.jsonl');
  if (output.length > 0) writeFileSync(join(folder, 'output.jsonl'), textOf(output));
  if (errors.length > 0) writeFileSync(join(folder, 'errors.jsonl'), textOf(errors));
  if (input !== undefined) writeFileSync(inputFile, input);
  const options: VerifyOptions = {
    folder,
    everyLine,
    receipt: {
      batch_id: BATCH,
      lines: output.length + errors.length,
      completed: output.length,
      failed: errors.length,
      input: digest(INPUT),
      output: output.length > 0 ? digest(textOf(output)) : null,
      errors: errors.length > 0 ? digest(textOf(errors)) : null,
      ...receipt,
    },
    ...(input === undefined ? {} : { inputFile }),
  };
  const checks = await verifyResults(options);
  rmSync(folder, { recursive: true });
  return checks.filter(({ ok }) => !ok).map(({ check, differences }) => ({ check, differences }));
}
const names = (checks: { check: string }[]) => checks.map(({ check }) => check);

const ORDER = 'every line of the input in one file, in order';
const IDS = "ids: this batch's, none twice";

describe('files that are right', () => {
  test('hold against the receipt alone, and against the input, packed or not', async () => {
    expect(await failing({})).toEqual([]);
    expect(await failing({ input: INPUT })).toEqual([]);
    expect(await failing({ input: gzipSync(INPUT) })).toEqual([]);
  });

  test('of a batch without files, or with one alone, hold', async () => {
    expect(await failing({ output: [], errors: [] })).toEqual([]);
    expect(await failing({ output: [], errors: [bad(4, null)] })).toEqual([]);
  });

  test('of a retry without merge hold though they lack lines', async () => {
    const selected = { input: INPUT, output: [], errors: [bad(3, 'b'), bad(6, null)] };
    expect(await failing(selected, false)).toEqual([]);
    expect(names(await failing(selected))).toEqual([ORDER]);
  });
});

describe('files that are not what the receipt says', () => {
  test('differ in bytes, digest and lines', async () => {
    const cut = await failing({
      output: [good(1, 'a')],
      receipt: { completed: 2, lines: 5, output: digest(textOf(OUTPUT)) },
    });
    expect(names(cut)).toEqual(['output.jsonl: bytes', 'output.jsonl: SHA-256', 'output.jsonl: lines']);
  });

  test('are missing, or there though the batch has none', async () => {
    expect(names(await failing({ errors: [], receipt: { errors: digest('x') } }))).toContain('errors.jsonl: exists');
    expect(names(await failing({ receipt: { errors: null } }))).toEqual(['errors.jsonl: exists']);
  });

  test('belong to another input', async () => {
    expect(names(await failing({ input: INPUT.replaceAll('/x', '/y') }))).toEqual(['input: SHA-256']);
  });
});

describe('lines', () => {
  test('twice in one file, or in both, are named with both places', async () => {
    const [twice] = await failing({ output: [good(1, 'a'), good(1, 'a')] });
    expect(twice).toEqual({
      check: IDS,
      differences: ['output.jsonl line 2: the id batch_1_a was in output.jsonl line 1'],
    });
    const both = await failing({ input: INPUT, errors: [bad(1, 'a'), ...ERRORS] });
    expect(names(both)).toEqual([ORDER, IDS]);
    expect(both[1]?.differences).toHaveLength(1);
  });

  test('in another order, lacking or foreign are named', async () => {
    const swapped = await failing({ input: INPUT, output: [...OUTPUT].reverse() });
    expect(swapped).toEqual([
      {
        check: ORDER,
        differences: [
          'line 1 of the input (a): in neither file',
          'output.jsonl line 2 (a): not in the input, or not at its place',
        ],
      },
    ]);
    const lacking = await failing({ input: INPUT, errors: ERRORS.slice(1) });
    expect(lacking).toEqual([{ check: ORDER, differences: ['line 3 of the input (b): in neither file'] }]);
    const foreign = await failing({ input: INPUT, output: [...OUTPUT, good(9, 'z')] });
    expect(foreign).toEqual([{ check: ORDER, differences: [expect.stringContaining('output.jsonl line 3 (z)')] }]);
  });

  test('that are no result lines, or of another batch, are named', async () => {
    const broken = await failing({ output: ['{', good(5, 'c').replace(BATCH, 'batch_2')] });
    expect(broken).toEqual([
      {
        check: IDS,
        differences: [
          'output.jsonl line 1: is no result line',
          'output.jsonl line 2: its id batch_2_c is not of this batch and line',
        ],
      },
    ]);
  });

  test('that differ by the thousand are counted, the first ten named', async () => {
    const many = Array.from({ length: 1000 }, (_, index) => request(`id-${index}`)).join('\n');
    const [order] = await failing({ input: many, output: [], errors: [], receipt: { input: digest(many) } });
    expect(order?.differences).toHaveLength(11);
    expect(order?.differences.at(-1)).toBe('… and 990 more');
  });
});
