import assert from 'node:assert/strict';
import { VALIDATION_CODES } from '../../../shared/domain/errors.ts';
import { initialBitmap, isBitSet } from '../../../shared/domain/shard.ts';
import { validateInput } from '../../../shared/usecases/validateInput.ts';
import { type InputSteps, startInputSteps } from '../../support/inputSteps.ts';
import type { Target } from '../run.ts';
import { SEED_LINES } from './lines.ts';

/** Lines of an input that are not blank, found without the product's reader. */
function filledLines(input: Buffer): number[] {
  const text = input.toString('latin1').replace(/^\xef\xbb\xbf/, '');
  return text.split('\n').flatMap((line, at) => (/^[ \t\r]*$/.test(line) ? [] : [at + 1]));
}

let steps: InputSteps;

export const validate: Target = {
  name: 'validate',
  executions: 150,
  seeds: () => [
    ...[SEED_LINES, SEED_LINES.slice(0, 3), SEED_LINES.slice(6)].map((lines) =>
      // An id of its own for each line: else the second and all after it are bad.
      Buffer.from(lines.map((line, at) => line.replace('"custom_id":"a"', `"custom_id":"a${at}"`)).join('\n')),
    ),
    Buffer.from(`\ufeff${SEED_LINES.join('\r\n')}\n\n \t\r\n[]\n`),
    Buffer.from('\n \n'),
  ],
  async start() {
    steps = await startInputSteps();
  },
  async check(input) {
    // An empty file is none: Fetch turns it away.
    if (input.length === 0) return;
    const head = await steps.createFetched(input, { onInvalidLine: 'skip' });
    const { projectId, batchId } = head;
    const request = { version: 1 as const, projectId, batchId, attempt: 1 };
    await validateInput(steps.deps, request, { remainingMs: () => 900_000 });
    const bad = await steps.invalidLines(head);
    const { plan, outcome } = await steps.head(head);
    const filled = filledLines(input);
    if (outcome) {
      assert.deepEqual([outcome.kind === 'failed' && outcome.reason, filled], ['empty_file', []]);
      return;
    }
    const runnable = (await steps.shards(head)).flatMap((shard) => {
      const skip = initialBitmap(shard);
      const lines = Array.from({ length: shard.lines }, (_, at) => at).filter((at) => !isBitSet(skip, at));
      return lines.map((at) => shard.firstLine + at);
    });
    assert.deepEqual(
      [...runnable, ...bad.map(({ line }) => line)].toSorted((a, b) => a - b),
      filled,
    );
    assert.deepEqual([plan?.lines, plan?.runnable], [filled.length, runnable.length]);
    for (const { error } of bad) assert((VALIDATION_CODES as readonly string[]).includes(error.code), error.code);
  },
  close: () => steps.close(),
};
